#!/usr/bin/env python3
"""Predicts on images of skin lesions with the model beside this file: python predict.py lesion.jpg [more.png]

Needs numpy, Pillow and onnxruntime, and nothing else. `python predict.py --check` compares the answer for check.png
with the one in check.json. For research and education only. Not a medical device; never use it to diagnose or treat a
person.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
# Processors differ in the last bits; a wrong model or wrong pixels differ by far more.
CHECK_TOLERANCE = 1e-4


class Model:
    """The network, its threshold and what it promises; everything is read from model.onnx itself."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.size = self.session.get_inputs()[0].shape[1]
        self.outputs = [output.name for output in self.session.get_outputs()]
        stated = self.session.get_modelmeta().custom_metadata_map
        self.threshold = float(stated["threshold"])
        self.guarantee = json.loads(stated["guarantee"])["sentence"]
        self.diagnoses = json.loads(stated["classes"]).get("diagnoses")

    def __call__(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        """The prediction for uint8 RGB pixels of the shape (S, S, 3)."""
        answer = dict(zip(self.outputs, self.session.run(None, {"image": pixels[np.newaxis]}), strict=True))
        probability = float(answer["probability_malignant"][0])
        prediction: dict[str, Any] = {
            "label": "malignant" if probability >= self.threshold else "benign",
            "probability_malignant": probability,
            "threshold": self.threshold,
        }
        if "diagnoses" in answer:
            prediction["diagnoses"] = dict(zip(self.diagnoses, map(float, answer["diagnoses"][0]), strict=True))
        return prediction


def pixels_of(path: Path, size: int) -> NDArray[np.uint8]:
    """The image upright, on white, its central square resized bicubically; uint8 (size, size, 3)."""
    with Image.open(path) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            layered = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
        image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def check(model: Model) -> bool:
    """Whether the model gives the same prediction as on the machine that made it."""
    expected = json.loads((HERE / "check.json").read_text(encoding="utf-8"))
    prediction = model(pixels_of(HERE / "check.png", model.size))
    difference = abs(prediction["probability_malignant"] - expected["probability_malignant"])
    sys.stdout.write(
        json.dumps({"expected": expected, "answered": prediction, "difference": difference}, indent=2) + "\n"
    )
    return bool(difference <= CHECK_TOLERANCE and prediction["label"] == expected["label"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path, help="photographs, one lesion each")
    parser.add_argument("--check", action="store_true", help="compare the answer for check.png with check.json")
    given = parser.parse_args()
    model = Model(HERE / "model.onnx")
    if given.check:
        return 0 if check(model) else 1
    if not given.images:
        parser.error("name an image, or use --check")
    answers = [{"image": str(path), **model(pixels_of(path, model.size))} for path in given.images]
    sys.stdout.write(json.dumps({"answers": answers, "guarantee": model.guarantee}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
