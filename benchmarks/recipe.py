"""What each part of the recipe `modern` is worth on new lesions, written to docs/recipe.md.

    python -m benchmarks.recipe train FOLDER DATASET.npz ...
    python -m benchmarks.recipe page FOLDER

`train` goes on where it was stopped: a network whose scores lie in FOLDER is not trained again, and one that was
stopped goes on from its last epoch. Every data set is a lesion-grouped split (`dermatriage dataset split`); nothing is
read of its test set. Hours on two cores.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.recipe_page import CLASSIC, MODERN, Variant, page
from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, TransferModel
from models_store.contract.outcomes import Epoch
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec
from models_store.experiment.phases import screening
from models_store.experiment.selection import policy_for
from models_store.files import replacing
from workers.pipeline.backend import configure, predict
from workers.pipeline.data import experiment_data, scaled
from workers.pipeline.networks.building import build_model, load_model
from workers.pipeline.networks.imagenet_weights import locate_base_weights
from workers.pipeline.serving_graph import views_of
from workers.pipeline.training.training import Schedule, train

SELECTION = SelectionSpec(policy="specificity_at_recall")


def ablation() -> list[Variant]:
    """Each part of `modern` taken away once, and what else is asked of a network; the most telling first."""
    without = {
        "as it is": MODERN,
        "two classes": replace(MODERN, target="malignant"),
        "augmentation of classic": replace(MODERN, augmentation=CLASSIC.augmentation),
        "no label smoothing": replace(MODERN, label_smoothing=0.0),
        "no weight decay": replace(MODERN, weight_decay=0.0),
        "no warm-up": replace(MODERN, warm_up=0.0),
        "constant learning rate": replace(MODERN, learning_rate="constant"),
    }
    parts = [Variant(change, recipe=recipe) for change, recipe in without.items()]
    return [
        *parts[:1],
        Variant("as it is", "EffLite_v1"),
        Variant("as it is", "CNN_v1"),
        Variant("classic", "CNN_v1", CLASSIC, "W3", epochs=30),
        *parts[1:],
        Variant("as it is", class_weight="W3"),
        Variant("half again as many epochs", epochs=24),
        Variant("as it is", seed=1),
        Variant("half as many epochs", "EffLite_v1", epochs=8),
        Variant("input size 84", "EffLite_v1", epochs=8, input_size=84),
        Variant("input size 112", "EffLite_v1", epochs=8, input_size=112),
    ]


def train_variant(variant: Variant, dataset: Path, folder: Path) -> None:
    """Train as the variant has it and keep its probabilities on validation.

    Arrays: `labels` (N,), and `views_1` and `views_8`, the probabilities (N, 7), or (N, 2) for two classes.
    """
    kept = variant.scores(folder, dataset.stem)
    if kept.exists():
        return
    working = kept.with_suffix("")
    working.mkdir(parents=True, exist_ok=True)
    data = experiment_data(dataset, CalibrationSpec(), variant.seed)
    spec = ExperimentSpec(
        dataset=dataset.stem,
        architectures=(variant.architecture,),
        class_weights=(variant.class_weight,),
        recipe="modern" if variant.recipe.target == "diagnosis" else "classic",
        seed=variant.seed,
    )
    [trial] = screening(spec).values()
    trial = trial.model_copy(update={"input_size": variant.input_size})
    architecture = ARCHITECTURES[variant.architecture]
    weights = locate_base_weights(architecture.base, None) if isinstance(architecture, TransferModel) else None
    schedule = Schedule(
        epochs=variant.epochs,
        patience=10,
        batch_size=trial.batch_size,
        learning_rate=trial.learning_rate,
        class_weight=CLASS_WEIGHTS[variant.class_weight],
        seed=variant.seed,
        recipe=variant.recipe,
    )
    model = build_model(trial, data.image_size, base_weights=weights, seed=variant.seed)

    def told(epoch: Epoch) -> None:
        figures = f"ROC AUC {epoch.metrics['val_auc']:.3f}, {epoch.seconds:.0f} s"
        print(f"{dataset.stem} {variant.name}: epoch {epoch.number}, {figures}", flush=True)

    outcome = train(model, data, schedule, policy_for(SELECTION), working, told)
    if outcome.checkpoint is None:
        raise RuntimeError(f"{kept}: {outcome.collapsed}")
    best = load_model(outcome.checkpoint)
    held_out = data.calibration  # all of validation, which neither trained nor chose an epoch
    answers = [predict(best, scaled(view)) for view in views_of(held_out.images, 8)]
    with replacing(kept) as beside, beside.open("wb") as file:
        np.savez_compressed(file, labels=held_out.labels, views_1=answers[0], views_8=np.mean(answers, axis=0))
    shutil.rmtree(working)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description="Ablation of `modern`.")
    steps = parser.add_subparsers(dest="step", required=True)
    training = steps.add_parser("train")
    training.add_argument("folder", type=Path)
    training.add_argument("datasets", type=Path, nargs="+")
    training.add_argument("--only", default="", help="variants whose name contains this")
    write = steps.add_parser("page")
    write.add_argument("folder", type=Path)
    write.add_argument("--out", type=Path, default=Path("docs/recipe.md"))
    options = parser.parse_args(arguments)
    if options.step == "page":
        options.out.write_text(page(ablation(), options.folder), encoding="utf-8")
        return 0
    chosen = [variant for variant in ablation() if options.only in variant.name]
    if not chosen:
        names = "\n  ".join(variant.name for variant in ablation())
        parser.error(f"no variant is named like {options.only!r}; there are\n  {names}")
    configure("tensorflow", seed=0)
    for variant in chosen:
        for dataset in options.datasets:
            train_variant(variant, dataset, options.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
