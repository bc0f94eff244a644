"""The words and tables of docs/results.md, from what the record holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.published import EARLIER_LOOKS, comparability, published_figures
from models_store import wording
from models_store.contract.specs import ExperimentSpec
from models_store.tables import Model, TestOpening, Trial

GOAL_RECALL, GOAL_CONFIDENCE, GOAL_SPECIFICITY = 0.90, 0.95, 0.636

VALIDATION = ("val_recall", "val_specificity", "val_auc", "val_f2", "val_specificity_at_recall")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """What the database holds of one finished experiment."""

    spec: ExperimentSpec
    model: Model
    opening: TestOpening
    other_looks: int
    trials: Sequence[Trial]
    environment: Json

    @property
    def test(self) -> Json:
        return self.model.metrics

    @property
    def guarantee(self) -> Json:
        guarantee: Json = self.model.calibration["guarantee"]
        return guarantee


def page(results: Results) -> str:
    """The whole page in Markdown."""
    return (
        "\n\n".join(
            (
                *_what(results),
                *_beside(results),
                *_goal(results),
                *_more(results),
                *_trials(results),
                *_earlier(results),
                "",
            )
        ).rstrip("\n")
        + "\n"
    )


def _what(results: Results) -> Sequence[str]:
    model, spec, opening = results.model, results.spec, results.opening
    machine = {"experiment": opening.experiment_id, "model": model.version, "seed": spec.seed, **results.environment}
    looks = results.other_looks or "none"
    return (
        "# Results",
        f"Written by `python -m benchmarks.results {opening.experiment_id}` from the record; not typed by hand.",
        f"**{model.winner}** on **{model.dataset}** (sha256 `{model.dataset_sha256}`), preset or name "
        f"`{spec.name or 'none'}`, initial weights `{model.weights}`. The test set was opened once by this experiment, "
        f"at {opening.opened_at:%Y-%m-%d %H:%M UTC}, for the frozen bundle `{opening.bundle_sha256}`; of the other "
        f"experiments on record, {looks} has opened it too.",
        _table(("", ""), [(name.replace("_", " "), f"`{value}`") for name, value in machine.items()]),
    )


def _beside(results: Results) -> Sequence[str]:
    test, published = results.test, published_figures()
    rows = [(row.label, row.cell, published.get(row.name, "not published")) for row in wording.figure_rows(test)]
    return (
        "## Beside the published run",
        _table(
            ("Test figure (95 % interval)", f"This experiment, {results.model.dataset}", "Published, official split"),
            rows,
        ),
        comparability(results.model.dataset, test),
        "Intervals: exact (Clopper-Pearson), each image counted, for recall, specificity and precision; bootstrap over "
        f"{'images' if test['lesions'] is None else 'lesions'} for the rest. Those of the published run are computed "
        "here from its counts.",
    )


def _goal(results: Results) -> Sequence[str]:
    return ("## Where the goal lands", *verdict(results), *limits(results))


def verdict(results: Results) -> Sequence[str]:
    """Whether test recall and specificity reach the goal, at a threshold calibrated as the goal asks."""
    test, calibration = results.test, results.spec.calibration
    reached = {
        f"test recall at least {GOAL_RECALL:.2f}": test["recall"] >= GOAL_RECALL,
        f"test specificity above {GOAL_SPECIFICITY}": test["specificity"] > GOAL_SPECIFICITY,
        f"calibrated for {GOAL_RECALL:.2f} at {wording.percent(GOAL_CONFIDENCE)}, and the guarantee holds": (
            calibration.policy == "np_sensitivity"
            and (calibration.target_recall, calibration.confidence) == (GOAL_RECALL, GOAL_CONFIDENCE)
            and results.guarantee["holds"]
        ),
    }
    answer = "**Reached.**" if all(reached.values()) else "**Not reached.**"
    points = "\n".join(f"- {goal}: **{'yes' if met else 'no'}**" for goal, met in reached.items())
    return (
        f"{answer} Recall {_cell(test, 'recall')}, specificity {_cell(test, 'specificity')}.",
        points,
        f"Threshold {results.model.threshold}. {results.guarantee['sentence']}",
    )


def limits(results: Results) -> Sequence[str]:
    """What the record itself says about why the figures are where they are."""
    test, decision = results.test, results.model.calibration["decision"]
    sentences = []
    low = test["intervals"]["recall"]["low"]
    if low < GOAL_RECALL <= test["recall"]:
        sentences.append(
            f"The recall's interval begins at {low:.3f}: this test set alone does not prove a recall of "
            f"{GOAL_RECALL:.2f}."
        )
    if results.guarantee["allowed_misses"] is not None:
        sentences.append(
            f"The promise costs specificity: {results.guarantee['positives']} malignant calibration "
            f"{'images' if decision['malignant_lesions'] is None else 'lesions'} allow "
            f"{results.guarantee['allowed_misses']} misses, so that the threshold keeps {decision['recall']:.3f} of "
            f"the malignant calibration images at specificity {wording.rate(decision['specificity'])}. More malignant "
            "calibration images would bring it nearer to the target."
        )
    at_goal = next((point for point in test["curve"] if point["recall"] >= GOAL_RECALL), None)
    if at_goal is not None:
        possible = 1 - at_goal["false_positive_rate"]
        limit = (
            "the threshold had to be chosen beforehand, which costs the difference"
            if possible > GOAL_SPECIFICITY
            else "the network, not the threshold, is what limits"
        )
        sentences.append(
            f"On the test set's own curve, which no honest choice may look at, a recall of {at_goal['recall']:.3f} "
            f"goes with a specificity of {possible:.3f}: {limit}."
        )
    sentences.append(leakage(test, results.model.dataset))
    return ("What limits it: " + " ".join(sentences),)


def leakage(test: Json, dataset: str) -> str:
    """Whether the figures speak for new lesions, and those of the part of which training saw none."""
    said = wording.new_lesions(test, dataset)
    if not test["leaking_images"] or test["leak_free"] is None:
        return said
    free = test["leak_free"]
    return (
        f"{said} {wording.rest_of_test_set(test)} There recall is {_cell(free, 'recall')} and specificity "
        f"{_cell(free, 'specificity')}."
    )


def _more(results: Results) -> Sequence[str]:
    test = results.test
    diagnoses = [
        (
            f"{wording.DIAGNOSES[row['diagnosis']]} ({row['diagnosis']})",
            "sensitivity" if row["malignant"] else "specificity",
            wording.rate(row["rate"]),
            wording.interval(row["interval"]),
            row["images"],
        )
        for row in test["diagnoses"]
    ]
    at_half = [(row.label, row.cell) for row in wording.figure_rows(test["at_half"])]
    return (
        "## By diagnosis",
        _table(("Diagnosis", "Figure", "Called rightly", "95 % interval", "Images"), diagnoses),
        "## The same model at the threshold 0.5, which nobody calibrated",
        _table(("Test figure (95 % interval)", "At 0.5"), at_half),
    )


def _trials(results: Results) -> Sequence[str]:
    rows = [
        (
            f"**{trial.name}**" if trial.name == results.model.winner else trial.name,
            trial.phase,
            trial.status,
            *(wording.rate(trial.metrics.get(name)) if trial.metrics else "–" for name in VALIDATION),
            f"{trial.best_epoch or '–'} of {trial.epochs_done}",
            _minutes(trial),
        )
        for trial in results.trials
    ]
    head = ("Trial", "Phase", "Ended", "Recall", "Specificity", "ROC AUC", "F2", "Specificity at target recall")
    lost = [trial for trial in results.trials if trial.error]
    reasons = "\n".join(f"- {trial.name} {trial.status}: {(trial.error or {}).get('message', '')}" for trial in lost)
    return (
        "## Every trial, on the selection images at 0.5",
        "These figures chose the winner and are therefore too good.",
        _table((*head, "Best epoch", "Minutes"), rows),
        *((reasons,) if lost else ()),
    )


def _earlier(results: Results) -> Sequence[str]:
    looks = EARLIER_LOOKS.get(results.model.dataset, ())
    if not looks:
        return ()
    return (
        "## Looks at this test set that the record does not hold",
        "\n".join(f"- {look}" for look in looks),
        "Each makes the figures above a little less surprising than a first look would be.",
    )


def _cell(figures: Json, name: str) -> str:
    return wording.figure_rows(figures, (name,))[0].cell


def _minutes(trial: Trial) -> str:
    if trial.started_at is None or trial.finished_at is None:
        return "–"
    return f"{(trial.finished_at - trial.started_at).total_seconds() / 60:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
