"""The words and tables of docs/results.md, from the records that the runs left."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import markdown
from benchmarks.published import EARLIER_LOOKS, MALIGNANT, PUBLISHED, SEVEN_DIAGNOSES
from benchmarks.result_records import Result
from models_store.contract.catalog import PRESETS
from models_store.contract.specs import CalibrationSpec
from models_store.scoring.paired import Difference, auc_difference, pooled, proportion_difference
from models_store.wording import interval, signed
from workers.pipeline.training.epoch_metrics import binary_metrics

BASELINE = "earlier"
ORDER = (BASELINE, "laptop", "best")
TARGET_RECALL = CalibrationSpec().target_recall


def page(results: Sequence[Result]) -> str:
    """The whole page in Markdown: new lesions first, then the published splits, then every look at a test set."""
    ordered = sorted(results, key=lambda each: (each.dataset, ORDER.index(each.preset)))
    parts = (
        "# Results",
        "Written by `python -m benchmarks.results page`; no figure is typed by hand. " + _machine(ordered),
        "Each figure is of a test set that was opened once by its run, after the threshold was frozen: threshold "
        "calibrated for a recall of 0.90 with 95 % confidence, everything chosen on train and validation, seed 42. "
        "`earlier` is the preset `laptop` of commit 2339223: CNN_v1 alone, trained as the published study trains. "
        "The promise is for lesions: `Lesions found` is the share of malignant lesions of which every photograph is "
        "called malignant. A preset `as it was` has changed since. Minutes add up all epochs and Phase 3. Other "
        "programs ran on the same CPUs, so they are upper bounds.",
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
        for run in (result.environment for result in results)
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
        *_broken_promises(of_size),
        "Means over the splits, and paired differences from `earlier` at 28 pixels on the same test images. The "
        "interval of a difference of ROC AUC is DeLong's, of recall and specificity Wald's for paired proportions; "
        "the mean counts each split alike and takes them for independent, though they share images, and photographs "
        "of one lesion count as independent too: read the intervals as a little too narrow.",
        markdown.table(
            ("Preset", "Figure", "Mean", "Difference (95 % interval)", "By split"), _means(of_size, baseline)
        ),
    )


def _broken_promises(results: Sequence[Result]) -> Sequence[str]:
    """The runs that found fewer lesions than promised, beyond the chance that the test set brings."""
    broken = [each for each in results if each.guarantee_holds and each.lesion_recall.interval.high < TARGET_RECALL]
    if not broken:
        return ()
    found = "; ".join(
        f"`{each.preset}` on {each.split}, {interval(each.lesion_recall.interval.model_dump())}" for each in broken
    )
    return (
        f"The 95 % interval of the lesions found is below the promised {TARGET_RECALL:.2f} for {found}. A promise with "
        "95 % confidence may fail for one calibration set of twenty; the runs on one split share theirs.",
    )


FIGURES = ("Preset", "ROC AUC", "Recall", "Specificity", "Lesions found", "Macro AUC", "Accuracy", "Minutes (CPUs)")


def _figures(result: Result) -> tuple[str, ...]:
    counts, lesions = result.confusion, result.lesion_recall
    return (
        f"`{result.preset}`{'' if _is_current(result) else ' as it was'}",
        _rate(result.roc_auc),
        f"{_rate(result.recall)} ({counts.tp}/{counts.tp + counts.fn})",
        f"{_rate(result.specificity)} ({counts.tn:,}/{counts.tn + counts.fp:,})",
        f"{_rate(lesions.recall)} ({lesions.found}/{lesions.lesions})"
        + ("" if result.guarantee_holds else ", no promise"),
        _rate(result.macro_auc),
        _rate(result.accuracy),
        f"{result.minutes:.0f} ({result.environment['cpus']})",
    )


def _is_current(result: Result) -> bool:
    """Whether the preset still says what it said when it was measured; the earlier one is no longer a preset."""
    return PRESETS.get(result.preset, result.settings) == result.settings


def _means(results: Sequence[Result], baseline: dict[str, Result]) -> list[tuple[str, ...]]:
    rows = []
    for preset in ORDER:
        own = [each for each in results if each.preset == preset]
        if not own:
            continue
        for figure, value, difference in COMPARED:
            mean = statistics.mean(value(each) for each in own)
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
        _require_same_images(first, second)
        right = [each.called[each.malignant == malignant] == bool(malignant) for each in (first, second)]
        return proportion_difference(*right)

    return difference


def _of_areas(first: Result, second: Result) -> Difference:
    _require_same_images(first, second)
    return auc_difference(first.scores, second.scores, first.malignant)


def _require_same_images(first: Result, second: Result) -> None:
    if first.labels_sha256 != second.labels_sha256:
        raise ValueError(f"{first.dataset} and {second.dataset} have other test images; build both by the same split")


COMPARED: tuple[tuple[str, Callable[[Result], Any], Callable[[Result, Result], Difference]], ...] = (
    ("ROC AUC", lambda result: result.roc_auc, _of_areas),
    ("Specificity", lambda result: result.specificity, _of_class(0)),
    ("Recall", lambda result: result.recall, _of_class(1)),
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
    by_time = sorted(results, key=lambda each: each.opened_at)
    rows = [(f"{each.opened_at:%Y-%m-%d %H:%M}", each.dataset, f"`{each.preset}`") for each in by_time]
    return (
        "## Every look at a test set",
        "Each makes what follows it a little less surprising than a first look would be.",
        markdown.table(("Opened (UTC)", "Data set", "Preset"), rows),
        "The project had looked before, at these test sets and at that of `ham10000_28`, whose 10,015 images are those "
        "of the official split and of the splits by seed:",
        "\n".join(f"- {look}" for look in EARLIER_LOOKS),
    )


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
