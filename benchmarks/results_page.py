"""The words and tables of docs/results.md, from the bundles that the runs left."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from benchmarks.published import EARLIER_LOOKS, MALIGNANT, PUBLISHED, SEVEN_DIAGNOSES
from models_store.contract.figures import Evaluation
from models_store.scoring.paired import Difference, auc_difference, pooled, proportion_difference
from models_store.store.bundles import TEST_SCORES
from models_store.store.scored_test_set import ScoredTestSet
from models_store.wording import signed
from workers.pipeline.training.epoch_metrics import binary_metrics

BASELINE = "earlier"
ORDER = (BASELINE, "laptop", "best")


@dataclass(frozen=True)
class Result:
    """One preset on one data set. `scores` (N,) and `malignant` (N,) are those of the test images in their order."""

    preset: str
    dataset: str
    evaluation: Evaluation
    holds: bool
    run: dict[str, Any]
    scores: NDArray[np.float64]
    malignant: NDArray[np.int64]

    @property
    def split(self) -> str:
        return self.dataset.rpartition("_")[0]

    @property
    def pixels(self) -> int:
        return int(self.dataset.rpartition("_")[2])

    @property
    def minutes(self) -> float:
        return float(sum(self.run["seconds"].values())) / 60

    @property
    def called(self) -> NDArray[np.bool_]:
        return self.scores >= self.evaluation.threshold


def read_result(bundle: Path) -> Result:
    def read(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((bundle / name).read_text(encoding="utf-8"))
        return content

    scored = ScoredTestSet.read(bundle / TEST_SCORES)
    return Result(
        preset=bundle.parent.name,
        dataset=bundle.name,
        evaluation=Evaluation.model_validate(read("metrics.json")),
        holds=read("calibration.json")["guarantee"]["holds"],
        run=read("run.json"),
        scores=scored.scores,
        malignant=scored.malignant.astype(np.int64),
    )


def page(results: Sequence[Result]) -> str:
    """The whole page in Markdown: new lesions first, then the published splits, then every look at a test set."""
    ordered = sorted(results, key=lambda each: (each.dataset, ORDER.index(each.preset)))
    parts = (
        "# Results",
        "Written by `python -m benchmarks.results page`; no figure is typed by hand. " + _machine(ordered),
        "Each figure is of a test set that was opened once by its run, after the threshold was frozen: threshold "
        "calibrated for a recall of 0.90 with 95 % confidence, everything chosen on train and validation, seed 42. "
        "`earlier` is the preset `laptop` of commit 2339223: CNN_v1 alone, trained as the published study trains. "
        "Minutes add up all epochs and Phase 3. Other programs ran on the same CPUs, so they are upper bounds.",
        *_new_lesions(ordered, 28),
        *_new_lesions(ordered, 64),
        *_published(ordered, "dermamnist"),
        *_published(ordered, "dermamnist_c"),
        *_looks(ordered),
    )
    return "\n\n".join(parts) + "\n"


def _machine(results: Sequence[Result]) -> str:
    machines = {
        f"{run['platform']}, {run['backend']} {run['backend_version']}, Keras {run['keras']}"
        for run in (result.run["environment"] for result in results)
    }
    return "Machine: " + "; ".join(sorted(machines)) + "."


def _new_lesions(results: Sequence[Result], pixels: int) -> Sequence[str]:
    of_size = [each for each in results if each.split.startswith("grouped-") and each.pixels == pixels]
    if not of_size:
        return ()
    baseline = {each.split: each for each in results if each.preset == BASELINE and each.pixels == 28}
    rows = [(each.split, *_figures(each)) for each in of_size]
    return (
        f"## New lesions, {pixels} pixels",
        "No lesion of the test set, of validation or of the calibration images is in train. `grouped-S` is "
        "the lesion-grouped split of HAM10000 by seed S.",
        markdown.table(("Split", *FIGURES), rows),
        "Means over the splits, and paired differences from `earlier` at 28 pixels on the same test images. The "
        "interval of a difference of ROC AUC is DeLong's, of recall and specificity Wald's for paired proportions; "
        "the mean counts each split alike and takes them for independent, though they share images, and photographs "
        "of one lesion count as independent too: read the intervals as a little too narrow.",
        markdown.table(
            ("Preset", "Figure", "Mean", "Difference (95 % interval)", "By split"), _means(of_size, baseline)
        ),
    )


FIGURES = ("Preset", "ROC AUC", "Recall", "Specificity", "Promise", "Macro AUC", "Accuracy", "Minutes (CPUs)")


def _figures(result: Result) -> tuple[str, ...]:
    test, seven = result.evaluation, result.evaluation.seven
    return (
        f"`{result.preset}`",
        _rate(test.roc_auc),
        f"{_rate(test.recall)} ({test.confusion.tp}/{test.confusion.tp + test.confusion.fn})",
        f"{_rate(test.specificity)} ({test.confusion.tn:,}/{test.confusion.tn + test.confusion.fp:,})",
        "given" if result.holds else "void",
        _rate(seven.macro_auc) if seven else "–",
        _rate(seven.accuracy) if seven else "–",
        f"{result.minutes:.0f} ({result.run['environment']['cpus']})",
    )


def _means(results: Sequence[Result], baseline: dict[str, Result]) -> list[tuple[str, ...]]:
    rows = []
    for preset in ORDER:
        own = [each for each in results if each.preset == preset]
        if not own:
            continue
        for figure, value, difference in COMPARED:
            mean = statistics.mean(value(each.evaluation) for each in own)
            pairs = [(baseline[each.split], each) for each in own if baseline.get(each.split, each) is not each]
            differences = [difference(*pair) for pair in pairs]
            cells = ("–", "–")
            if differences:
                cells = (
                    markdown.difference(pooled(differences)),
                    ", ".join(signed(each.value) for each in differences),
                )
            rows.append((f"`{preset}`", figure, _rate(mean), *cells))
    return rows


def _of_class(malignant: int) -> Callable[[Result, Result], Difference]:
    def difference(first: Result, second: Result) -> Difference:
        kept = first.malignant == malignant
        right = [each.called[kept] == bool(malignant) for each in (first, second)]
        return proportion_difference(*right)

    return difference


def _of_areas(first: Result, second: Result) -> Difference:
    if (first.malignant != second.malignant).any():
        raise ValueError(f"{first.dataset} and {second.dataset} have other test images; build both by the same split")
    return auc_difference(first.scores, second.scores, first.malignant)


COMPARED: tuple[tuple[str, Callable[[Evaluation], Any], Callable[[Result, Result], Difference]], ...] = (
    ("ROC AUC", lambda test: test.roc_auc, _of_areas),
    ("Specificity", lambda test: test.specificity, _of_class(0)),
    ("Recall", lambda test: test.recall, _of_class(1)),
)


def _published(results: Sequence[Result], split: str) -> Sequence[str]:
    own = [each for each in results if each.split == split]
    if not own:
        return ()
    published = [*MALIGNANT.get(split, ()), *SEVEN_DIAGNOSES[split]]
    return (
        f"## {PUBLISHED_SPLITS[split][0]}",
        PUBLISHED_SPLITS[split][1],
        markdown.table(FIGURES, [*(_figures(each) for each in own), *published]),
        *((_as_the_study_recalls(own),) if split in MALIGNANT else ()),
    )


def _as_the_study_recalls(results: Sequence[Result]) -> str:
    """Specificity where a network misses no more malignant images than the study; chosen with the test set open."""
    found = ", ".join(f"`{each.preset}` {_rate(_specificity_at(each, PUBLISHED.fn))}" for each in results)
    study = PUBLISHED.tn / (PUBLISHED.tn + PUBLISHED.fp)
    return (
        "The guarantee asks for a threshold that errs on the side of recall. With thresholds read off these test "
        f"images, so that each network misses as many malignant images as the study ({PUBLISHED.fn}), specificity is: "
        f"{found}, the study {_rate(study)}. Such a threshold promises nothing; this compares the networks alone."
    )


def _specificity_at(result: Result, misses: int) -> float:
    positives = int(result.malignant.sum())
    target_recall = (positives - misses) / positives
    return binary_metrics(result.scores, result.malignant, target_recall=target_recall)["specificity_at_recall"]


PUBLISHED_SPLITS = {
    "dermamnist": (
        "The official split of DermaMNIST, 28 pixels",
        "For comparison with published figures only: about a third of these test images show a lesion that is also in "
        "train, so they do not speak for new lesions. The images are on the official sides, but resized from "
        "photographs of 200x150 pixels where the official file started from 600x450.",
    ),
    "dermamnist_c": (
        "DermaMNIST-C, 28 pixels",
        "No lesion is on two sides, but the test set is an easy one: whatever was photographed twice went to train.",
    ),
}


def _looks(results: Sequence[Result]) -> Sequence[str]:
    by_time = sorted(results, key=lambda each: each.run["opened_at"])
    rows = [(each.run["opened_at"][:16].replace("T", " "), each.dataset, f"`{each.preset}`") for each in by_time]
    return (
        "## Every look at a test set",
        "Each makes what follows it a little less surprising than a first look would be.",
        markdown.table(("Opened (UTC)", "Data set", "Preset"), rows),
        "The official split and those by seed hold the same 10,015 images as `ham10000_28`, at whose test set the "
        "project had looked before:",
        "\n".join(f"- {look}" for look in EARLIER_LOOKS),
    )


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
