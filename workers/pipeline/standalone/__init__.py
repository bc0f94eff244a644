"""The files with which a downloaded bundle works without this product: predict.py, its check image, and a README."""

import json
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models_store.contract.catalog import DISCLAIMER
from models_store.contract.records import About, CalibrationRecord
from models_store.datasets.drawing import draw_appearances, draw_photographs
from models_store.datasets.labels import CLASS_NAMES
from models_store.scoring.scorer import Scorer
from models_store.store.bundles import write_json
from workers.pipeline.card import TEMPLATES, licence_of
from workers.pipeline.standalone.predict import pixels_of

HERE = Path(__file__).parent
CHECK_SIDE = 96


def preprocessing(size: int) -> dict[str, Any]:
    """The steps from a photograph to the pixels that the graph takes."""
    return {
        "orientation": "turned upright by its EXIF tag",
        "transparency": "laid on white",
        "colour": "RGB",
        "crop": "the largest central square",
        "size": size,
        "resampling": "bicubic (Pillow), unless the square already has that size",
        "dtype": "uint8",
        "range": [0, 255],
        "scaling": "none: the graph does it",
    }


def metadata(
    about: About, calibration: CalibrationRecord, environment: Mapping[str, Any], *, diagnoses: bool
) -> dict[str, str]:
    """The graph's `metadata_props`; all but the threshold, the licence and the names are JSON."""
    classes = {"labels": ["benign", "malignant"]} | ({"diagnoses": list(CLASS_NAMES)} if diagnoses else {})
    return {
        "threshold": repr(calibration.threshold),
        "guarantee": calibration.guarantee.model_dump_json(),
        "preprocessing": json.dumps(preprocessing(about.image_size)),
        "classes": json.dumps(classes),
        "licence": licence_of(about),
        "versions": json.dumps(dict(environment), sort_keys=True),
        "winner": about.winner,
        "dataset": about.dataset,
        "dataset_sha256": about.dataset_sha256,
        "disclaimer": DISCLAIMER,
    }


def write_standalone(
    folder: Path, about: About, calibration: CalibrationRecord, scorer: Scorer, *, signed: bool
) -> None:
    """Writes `bundles.STANDALONE_FILES`; `scorer` is that of the folder's model.onnx."""
    copyfile(HERE / "predict.py", folder / "predict.py")
    write_json(folder / "preprocessing.json", preprocessing(about.image_size))
    Image.fromarray(_check_image()).save(folder / "check.png")
    (probability,) = scorer(pixels_of(folder / "check.png", about.image_size)[np.newaxis])
    label = "malignant" if probability >= calibration.threshold else "benign"
    write_json(folder / "check.json", {"label": label, "probability_malignant": float(probability)})
    text = TEMPLATES.get_template("standalone/README.md.j2").render(
        about=about,
        disclaimer=DISCLAIMER,
        threshold=calibration.threshold,
        guarantee=calibration.guarantee,
        diagnoses=CLASS_NAMES if scorer.has_diagnoses else (),
        licence=licence_of(about),
        signed=signed,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _check_image() -> NDArray[np.uint8]:
    """A generated lesion, wider than high so that the crop is checked as well; uint8 (96, 128, 3)."""
    random = np.random.default_rng(0)
    (square,) = draw_photographs(draw_appearances(np.array([CLASS_NAMES.index("mel")]), random), CHECK_SIDE, random)
    margin = CHECK_SIDE // 6
    return np.pad(square, ((0, 0), (margin, margin), (0, 0)), mode="edge")
