"""The words and tables of docs/recipe.md, from the probabilities that the trained networks left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import markdown
from models_store.contract.recipes import RECIPES, Recipe
from models_store.datasets.labels import is_malignant, malignant_of
from models_store.scoring.paired import auc_difference, pooled
from workers.pipeline.training.epoch_metrics import binary_metrics

MODERN, CLASSIC = RECIPES["modern"], RECIPES["classic"]


@dataclass(frozen=True)
class Variant:
    """A way to train one network; `change` says how it differs from `modern` with the weights of W0."""

    change: str
    architecture: str = "ConvNet_v1"
    recipe: Recipe = MODERN
    class_weight: str = "W0"
    epochs: int = 16
    input_size: int | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        words = (self.change, self.architecture, self.class_weight, f"{self.epochs} epochs", f"seed {self.seed}")
        return ", ".join(words).replace(" ", "_").replace("/", "-")

    def scores(self, folder: Path, dataset: str) -> Path:
        """Where its probabilities on the validation part of a data set are kept."""
        return folder / dataset / f"{self.name}.npz"


@dataclass(frozen=True)
class Answers:
    """What one network, or an average of several, says of a validation split: probability of malignant (N,)."""

    malignant: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def auc(self) -> float:
        return float(roc_auc_score(self.malignant, self.scores))

    @property
    def specificity(self) -> float:
        return binary_metrics(self.scores, self.malignant, target_recall=0.90)["specificity_at_recall"]


def page(variants: Sequence[Variant], folder: Path) -> str:
    """The whole page in Markdown, of the variants whose networks have been trained."""
    datasets = sorted(path.name for path in folder.iterdir() if any(path.glob("*.npz")))
    trained = {
        variant: {name: path for name in datasets if (path := variant.scores(folder, name)).exists()}
        for variant in variants
    }
    trained = {variant: found for variant, found in trained.items() if found}
    missing = [variant.name.replace("_", " ") for variant in variants if variant not in trained]
    parts = (
        "# What each part of the recipe `modern` is worth",
        "Written by `python -m benchmarks.recipe page`; no figure is typed by hand. Figures are of the validation part "
        f"of the lesion-grouped splits {', '.join(f'`{name}`' for name in datasets)}: it holds no lesion of train, "
        "neither trained a network nor chose an epoch, and no test set was opened. Eight views are averaged unless "
        "said otherwise.",
        "## One part changed at a time",
        "Differences are from the same architecture and recipe as it is, trained for as many epochs if it was, on the "
        "same images (DeLong), averaged over the splits. The same network with another seed says how much chance alone "
        "changes. ROC AUC and specificity are means over a row's own splits: rows of one split and of three are "
        "compared by the difference alone.",
        markdown.table(
            (
                "Change",
                "Architecture",
                "Class weight",
                "Epochs",
                "Splits",
                "ROC AUC",
                "Difference (95 % interval)",
                "Specificity at recall 0.90",
            ),
            [_row(variant, found, trained) for variant, found in trained.items()],
        ),
        "## Views and averages",
        "Networks of the recipe as it is, on the splits for which all of them were trained. An average is of "
        "probabilities.",
        markdown.table(("Networks", "Views", "Splits", "ROC AUC", "Specificity at recall 0.90"), _averages(trained)),
        *(("Not trained yet: " + "; ".join(missing) + ".",) if missing else ()),
    )
    return "\n\n".join(parts) + "\n"


Trained = Mapping[Variant, Mapping[str, Path]]


def _row(variant: Variant, found: Mapping[str, Path], trained: Trained) -> Sequence[Any]:
    answers = {name: read(path) for name, path in found.items()}
    standard = _standard_of(variant, trained)
    shared = [name for name in answers if name in trained[standard]]
    differences = [
        auc_difference(read(trained[standard][name]).scores, answers[name].scores, answers[name].malignant)
        for name in shared
    ]
    return (
        f"seed {variant.seed}" if variant.change == "as it is" and variant.seed else variant.change,
        variant.architecture,
        variant.class_weight,
        variant.epochs,
        len(found),
        _mean([each.auc for each in answers.values()]),
        "–" if standard == variant or not differences else markdown.difference(pooled(differences)),
        _mean([each.specificity for each in answers.values()]),
    )


def _standard_of(variant: Variant, trained: Trained) -> Variant:
    """What a variant is compared with: its architecture unchanged, trained for as many epochs if it was."""
    if _is_standard(variant):
        return variant
    unchanged = [other for other in trained if other.architecture == variant.architecture and _is_unchanged(other)]
    as_long = [other for other in unchanged if other.epochs == variant.epochs and other != variant]
    standard = [other for other in unchanged if _is_standard(other)]
    return [*as_long, *standard, variant][0]


def _averages(trained: Trained) -> list[Sequence[Any]]:
    standard = [variant for variant in trained if _is_standard(variant)]
    shared = set.intersection(*(set(trained[variant]) for variant in standard)) if standard else set()
    alone: list[tuple[Variant, ...]] = [(variant,) for variant in standard]
    together = [tuple(standard[:count]) for count in range(2, len(standard) + 1)]
    rows = []
    for members in alone + together:
        for views in (1, 8):
            answers = [average([read(trained[member][name], views) for member in members]) for name in sorted(shared)]
            rows.append(
                (
                    " + ".join(member.architecture for member in members),
                    views,
                    len(shared),
                    _mean([each.auc for each in answers]),
                    _mean([each.specificity for each in answers]),
                )
            )
    return rows


def _is_standard(variant: Variant) -> bool:
    return variant.change == "as it is" and _is_unchanged(variant)


def _is_unchanged(variant: Variant) -> bool:
    """Whether only its epochs may differ."""
    return (variant.recipe, variant.class_weight, variant.input_size, variant.seed) == (MODERN, "W0", None, 0)


def read(path: Path, views: int = 8) -> Answers:
    with np.load(path) as kept:
        labels, probabilities = kept["labels"], kept[f"views_{views}"]
    return Answers(is_malignant(labels).astype(np.int64), malignant_of(probabilities).astype(np.float64))


def average(answers: Sequence[Answers]) -> Answers:
    return Answers(answers[0].malignant, np.mean([each.scores for each in answers], axis=0))


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f}" if values else "–"
