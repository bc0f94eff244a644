"""How often the warning `unlike_training` fires: on test lesions, and on images without a lesion.

    python -m benchmarks.unlike_training DATA.npz [--epochs 6] [--seed 1] [--report docs/unlike-training.md]

Trains CNN_v1 with W3 for a few epochs, finalises it as every experiment does, and judges the test images and 300 images
of each strange kind with the bundle. Other detectors on the same network stand beside it. Takes about two minutes on
two idle cores; the trained network stays under `--cache`, and a killed run continues. Expected: about 1 % of the test
images, and nearly everything strange but pages of text, which at 28x28 pixels are pale as skin.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from benchmarks.strange_images import NUMBER, strange_images
from models_store.contract.specs import ExperimentSpec
from models_store.datasets.layout import read_split
from models_store.files import sha256_of
from models_store.scoring.out_of_distribution import load_distribution
from models_store.scoring.scorer import Scorer
from models_store.store import bundles
from models_store.wording import measured_percent
from workers.pipeline.backend import configure, environment, predict
from workers.pipeline.data import ExperimentData, experiment_data, scaled
from workers.pipeline.evaluation.intervals import clopper_pearson

NEIGHBOURS, KEPT_NEIGHBOURS = 5, 1000
REPEATS = 200

Distances = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@dataclass(frozen=True)
class Measured:
    """By kind of image: how many, and the share each detector warns of. `costs` are microseconds an image."""

    images: dict[str, int]
    shares: dict[str, dict[str, float]]
    costs: dict[str, float]
    fit: dict[str, Any]
    epoch: int
    auc: float


def main() -> None:
    arguments = _arguments()
    configure("tensorflow", seed=arguments.seed)
    with tempfile.TemporaryDirectory(prefix="unlike-") as folder:
        page = report(arguments, measure(arguments, Path(folder)))
    arguments.report.write_text(page)
    print(page)


def measure(arguments: argparse.Namespace, folder: Path) -> Measured:
    """Trains, finalises, and counts warnings."""
    dataset, seed = arguments.dataset, arguments.seed
    spec, epoch = _finalised(dataset, arguments.epochs, seed, arguments.cache, folder)
    data = experiment_data(dataset, spec.calibration, seed)
    likeness = load_distribution(folder / bundles.DISTRIBUTION)
    scorer = Scorer(folder / "model.onnx", distribution=likeness)
    detectors: dict[str, Distances] = {"the warning": lambda images: likeness.distances(scorer.features(images))}
    detectors |= _others(scorer, data, folder)
    cuts = {name: np.quantile(far(data.calibration.images), 0.99, method="higher") for name, far in detectors.items()}
    test = read_split(dataset, "test")
    kinds = {
        "calibration lesions, which set the cut": data.calibration.images,
        "test lesions": test.images,
        "of these malignant": test.images[test.malignant == 1],
        "of these benign": test.images[test.malignant == 0],
        **strange_images(data.image_size, seed),
    }
    calibration, metrics = (bundles.read_json(folder / name) for name in ("calibration.json", "metrics.json"))
    return Measured(
        images={kind: len(images) for kind, images in kinds.items()},
        shares={
            kind: {name: float(np.mean(far(images) > cuts[name])) for name, far in detectors.items()}
            for kind, images in kinds.items()
        },
        costs=_costs(scorer, test.images[:16]),
        fit=calibration["likeness"],
        epoch=epoch,
        auc=metrics["roc_auc"],
    )


def _finalised(dataset: Path, epochs: int, seed: int, cache: Path, folder: Path) -> tuple[ExperimentSpec, int]:
    """A completed bundle in `folder`, and the epoch that was chosen."""
    from models_store.experiment import phases
    from workers.pipeline.data import SealedTestSet
    from workers.pipeline.train_and_finalize import Candidate, finalize, train_trial

    spec = ExperimentSpec(dataset=dataset.stem, architectures=("CNN_v1",), strategies=(), epochs=epochs, seed=seed)
    ((name, trial),) = phases.screening(spec).items()
    kept = cache / f"{sha256_of(dataset)[:8]}-seed{seed}-epochs{epochs}"
    kept.mkdir(parents=True, exist_ok=True)
    trained = train_trial(trial, spec, dataset, kept, lambda epoch: print(epoch.number, flush=True), weights_root=None)
    if trained.best is None or trained.checkpoint is None:
        raise SystemExit(f"nothing to measure: {trained.collapsed}; train longer with --epochs, or with another --seed")
    finalize(Candidate(name, trial, trained.checkpoint, "exp_unlike"), spec, dataset, SealedTestSet(dataset), folder)
    return spec, trained.best.number


def _others(scorer: Scorer, data: ExperimentData, folder: Path) -> dict[str, Distances]:
    """Detectors that were tried: the same distance in the penultimate layer, and Sun et al.'s nearest neighbours."""
    import keras

    from workers.pipeline.calibration import fitted_to
    from workers.pipeline.networks.building import load_model

    model = load_model(folder / "model.keras")
    penultimate = keras.Model(model.inputs[0], model.layers[-1].input)

    def last(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.asarray(predict(penultimate, scaled(images)), np.float64)

    drawn = np.random.default_rng(0).choice(len(data.train.images), KEPT_NEIGHBOURS, replace=False)
    train = data.train.images[np.sort(drawn)]
    fitted = fitted_to(last(train))
    return {
        "Mahalanobis, penultimate layer": lambda images: fitted.distances(last(images)),
        "neighbours, penultimate layer": _neighbours(last, train),
        "neighbours, same features": _neighbours(scorer.features, train),
    }


def _neighbours(features: Callable[[NDArray[np.uint8]], NDArray[Any]], train: NDArray[np.uint8]) -> Distances:
    """Distance to the fifth-nearest of the training images in features of unit length."""

    def unit(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = features(images).astype(np.float64)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    known = unit(train)
    return lambda images: np.sqrt(np.maximum(2 - 2 * np.sort(unit(images) @ known.T, axis=1)[:, -NEIGHBOURS], 0))


def _costs(scorer: Scorer, images: NDArray[np.uint8]) -> dict[str, float]:
    """Microseconds an image, in batches of 16: the least of many runs, which other programs disturb least."""
    assert scorer.distribution is not None
    features = scorer.features(images)
    parts: dict[str, Callable[[], object]] = {
        "the network": lambda: scorer(images),
        "the distance": lambda: scorer.distribution.score(features),
    }
    return {name: min(_seconds(part) for _ in range(REPEATS)) / len(images) * 1e6 for name, part in parts.items()}


def _seconds(part: Callable[[], object]) -> float:
    began = time.perf_counter()
    part()
    return time.perf_counter() - began


def report(arguments: argparse.Namespace, measured: Measured) -> str:
    """The page, in Markdown."""
    machine, fit = environment(), measured.fit
    facts = ", ".join(f"{name} {machine[name]}" for name in ("device", "cpus", "python", "keras", "backend"))
    names = list(next(iter(measured.shares.values())))
    rows = []
    for kind, shares in measured.shares.items():
        number = measured.images[kind]
        interval = clopper_pearson(round(shares["the warning"] * number), number)
        shown = [measured_percent(shares[name]) for name in names]
        rows.append([kind, f"{number:,}", *shown, f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"])
    table = markdown.table(("images of", "number", *names, "95 % interval of the warning"), rows)
    lesions = measured.shares["test lesions"]["the warning"]
    return f"""# How often an image is called unlike the training images

Written by `python -m benchmarks.unlike_training`; do not edit.

CNN_v1 with W3 on `{arguments.dataset.stem}` (sha256 `{sha256_of(arguments.dataset)}`), seed {arguments.seed},
{arguments.epochs} epochs of which epoch {measured.epoch} was chosen (test ROC AUC {measured.auc:.3f}). Machine: {facts}
{machine["backend_version"]}.

The warning is the Mahalanobis distance of {fit["features"]} features (the mean of every channel behind each pooling
layer) from {fit["training_images"]:,} training images, {fit["directions"]} directions kept, and a cut at the 99th
percentile of the {fit["calibration_images"]:,} calibration images; see
[the decision](decisions/0010-unlike-the-training-images.md). The other columns are detectors that were tried on the
same network with a cut of the same kind, and not taken. **These figures flatter the warning:** its kind was chosen
among about twenty variants, four of them here, by how they did on the same data set, test lesions included, and on
such strange images. Strange images are drawn by the same seed
(`benchmarks/strange_images.py`), {NUMBER} of each kind.

{table}

It costs {measured.costs["the distance"]:.1f} µs an image beside {measured.costs["the network"]:.0f} µs for the network
(batches of 16, the least of {REPEATS} runs).

What this means: of real lesions like these {measured_percent(lesions)} are warned of for nothing. Noise and other
photographs are nearly always told, pages of text often: at this resolution paper is as pale and as plain as skin. No
warning therefore does not mean that an image shows a lesion. The two photographs stand for themselves and not for all
photographs, and one training run does not stand for every network; each bundle's own cut is on its card.
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="an .npz in MedMNIST layout")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("var/benchmarks/unlike_training"))
    parser.add_argument("--report", type=Path, default=Path("docs/unlike-training.md"), help="where to write the page")
    return parser.parse_args()


if __name__ == "__main__":
    main()
