"""What each selection policy picks from the same training curves, and what that is worth on the test set.

    python -m benchmarks.selection_policies DATA.npz [--report docs/selection.md]

Trains CNN_v1 with W3 for 30 epochs, once a seed (1-3) and source of the hold-out, and replays every policy with
patience 10 on the kept scores: six runs of 30 epochs, some 16 minutes on two idle cores. What is trained stays under
`--cache`, and a killed run goes on. A policy sees the selection part alone, the threshold the calibration part alone;
test scores are read for the chosen epochs, after the choice. Expected: `val_recall_unguarded` picks epochs that call
nearly everything malignant, the guarded policies do not.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from models_store.contract.specs import CalibrationSpec, SelectionPolicy, SelectionSpec
from models_store.datasets.layout import Split, read_split
from models_store.experiment.selection import Policy, improves, policy_for
from models_store.files import sha256_of
from workers.pipeline.backend import configure, environment
from workers.pipeline.data import experiment_data, held_out
from workers.pipeline.threshold import choose_threshold
from workers.pipeline.training.epoch_metrics import binary_metrics

PATIENCE = 10
HOLD_OUTS = 20
FLOORS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7)
POLICIES: tuple[SelectionPolicy, ...] = ("val_recall_unguarded", "val_recall", "val_f2", "specificity_at_recall")
SOURCES = {
    "validation": CalibrationSpec(source="validation", share=0.5),
    "train": CalibrationSpec(source="train", share=0.1),
}
FIGURES = (
    "selection recall",
    "specificity",
    "calibration AUC",
    "specificity at recall 0.90",
    "test recall",
    "specificity",
    "AUC",
)

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """The curves of one run, and who selects, calibrates and tests: scores (epochs, N), labels (N,), lesions (N,)."""

    seed: int
    selection: tuple[Scores, NDArray[np.int64]]
    calibration: tuple[Scores, NDArray[np.int64], NDArray[np.str_] | None]
    test: tuple[Scores, NDArray[np.int64]]


@dataclass(frozen=True)
class Pick:
    """The epoch a policy picks and its figures: on the selection part at 0.5, on calibration, on test at a threshold
    calibrated for a recall of 0.90 with 95 % confidence.
    """

    epoch: int
    figures: tuple[float, ...]


def main() -> None:
    """Train what is not cached, replay, and print or write the page."""
    arguments = _arguments()
    configure("tensorflow", seed=0)
    curves = {source: list(_cases(arguments, source)) for source in arguments.sources}
    page = report(arguments, curves)
    if arguments.report:
        arguments.report.write_text(page)
    print(page)


def _cases(arguments: argparse.Namespace, source: str) -> Iterator[list[Case]]:
    """For each seed the product's own hold-out and, where validation is divided, `HOLD_OUTS` more of the same curve."""
    from benchmarks.training_curves import training_curve

    validation, test = read_split(arguments.dataset, "val"), read_split(arguments.dataset, "test")
    fingerprint = sha256_of(arguments.dataset)[:8]
    for seed in arguments.seeds:
        folder = arguments.cache / f"{fingerprint}-{source}-seed{seed}"
        curve = training_curve(arguments.dataset, SOURCES[source], seed, arguments.epochs, folder)
        tested = (curve.test, test.malignant)
        if source == "train":
            selection = experiment_data(arguments.dataset, SOURCES[source], seed).selection
            calibration = (curve.validation, validation.malignant, validation.lesion_ids)
            yield [Case(seed, (curve.selection, selection.malignant), calibration, tested)]
        else:
            hold_out_seeds = (seed, *range(1000, 1000 + HOLD_OUTS))
            yield [_divided(seed, curve.validation, validation, tested, draw) for draw in hold_out_seeds]


def _divided(seed: int, scores: Scores, validation: Split, tested: tuple[Scores, NDArray[np.int64]], draw: int) -> Case:
    """Validation divided as the product divides it."""
    calibrates = held_out(validation, SOURCES["validation"].share, draw)
    lesion_ids = None if validation.lesion_ids is None else validation.lesion_ids[calibrates]
    return Case(
        seed,
        (scores[:, ~calibrates], validation.malignant[~calibrates]),
        (scores[:, calibrates], validation.malignant[calibrates], lesion_ids),
        tested,
    )


def pick(policy: Policy, case: Case) -> Pick | None:
    """Replay early stopping and the checkpoint; None if no epoch is eligible."""
    best, chosen = None, 0
    for index, scores in enumerate(case.selection[0]):
        metrics = {f"val_{name}": value for name, value in binary_metrics(scores, case.selection[1]).items()}
        if improves(policy, metrics, best):
            best, chosen = metrics, index + 1
        if index + 1 - chosen >= PATIENCE:
            break
    if best is None:
        return None
    calibrated, malignant, lesion_ids = case.calibration
    calibration = binary_metrics(calibrated[chosen - 1], malignant)
    threshold = choose_threshold(calibrated[chosen - 1], malignant, CalibrationSpec(), lesion_ids=lesion_ids).threshold
    test = binary_metrics(case.test[0][chosen - 1], case.test[1], threshold=threshold)
    return Pick(
        chosen,
        (
            *(best["val_recall"], best["val_specificity"]),
            *(calibration["auc"], calibration["specificity_at_recall"]),
            *(test["recall"], test["specificity"], test["auc"]),
        ),
    )


def report(arguments: argparse.Namespace, curves: dict[str, list[list[Case]]]) -> str:
    """The page, in Markdown."""
    machine = environment()
    facts = ", ".join(f"{name} {machine[name]}" for name in ("device", "cpus", "python", "keras", "backend"))
    sections = [
        f"""# Which epoch a policy picks

Written by `python -m benchmarks.selection_policies`; do not edit.

CNN_v1 with W3 on `{arguments.dataset.stem}` (sha256 `{sha256_of(arguments.dataset)}`), seeds
{", ".join(map(str, arguments.seeds))}, {arguments.epochs} epochs trained once a seed, every policy replayed on the same
curves with patience {PATIENCE}. Machine: {facts} {machine["backend_version"]}.

Selection figures are at 0.5 on the part that selects. Calibration figures are on the part held back from selection.
Test figures are at the threshold that the default calibration (`np_sensitivity`, recall 0.90 with 95 % confidence)
sets on the calibration part. They are read after the choice and decide nothing: compare policies by the calibration
part, which no policy saw."""
    ]
    for source, runs in curves.items():
        sections.append(f"## Selecting on a part of `{source}` (share {SOURCES[source].share})")
        sections.append(_policy_table(runs))
        repeated = f", {HOLD_OUTS} divisions of validation each" if source == "validation" else ""
        sections.append(f"### Mean over seeds{repeated}, by policy and floor; collapsed cases have no figures")
        sections.append(_floor_table([case for run in runs for case in (run[1:] or run)]))
    return "\n\n".join(sections) + "\n"


def _policy_table(runs: list[list[Case]]) -> str:
    rows = []
    for name in POLICIES:
        for run in runs:
            picked = pick(policy_for(SelectionSpec(policy=name)), run[0])
            outcome = [str(picked.epoch), *_figures(picked.figures)] if picked else ["collapsed", *[""] * len(FIGURES)]
            rows.append([f"`{name}`", str(run[0].seed), *outcome])
    return markdown.table(("policy", "seed", "epoch", *FIGURES), rows)


def _floor_table(cases: list[Case]) -> str:
    rows = []
    for name in POLICIES:
        guarded = name in ("val_recall", "val_f2")
        for floor in FLOORS if guarded else (0.5,):
            policy = policy_for(SelectionSpec(policy=name, min_specificity=floor))
            picks = [pick(policy, case) for case in cases]
            found = [picked.figures for picked in picks if picked is not None]
            means = [statistics.mean(column) for column in zip(*found, strict=True)]
            lost = f"{len(picks) - len(found)} of {len(picks)}"
            figures = _figures(means) or [""] * len(FIGURES)
            rows.append([f"`{name}`", f"{floor:.1f}" if guarded else "none", lost, *figures])
    return markdown.table(("policy", "floor", "collapsed", *FIGURES), rows)


def _figures(values: Sequence[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="an .npz in MedMNIST layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--sources", nargs="+", choices=tuple(SOURCES), default=tuple(SOURCES))
    parser.add_argument("--cache", type=Path, default=Path("var/benchmarks/selection_policies"))
    parser.add_argument("--report", type=Path, help="where to write the page")
    return parser.parse_args()


if __name__ == "__main__":
    main()
