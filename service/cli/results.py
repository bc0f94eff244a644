"""An experiment in words: its state, its test figures with recall first, its trials."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from dermatriage_client.schemas import ENDED, ExperimentRead, ResultRead, TrialRead, WaitingRead
from models_store.experiment.ranking import Ranking
from models_store.wording import new_lesions, verdict
from service.cli.output import figure, moment

RATES = ("recall", "specificity", "precision", "f1", "f2", "roc_auc", "pr_auc")
EXPERIMENT_COLUMNS = ("id", "name", "status", "done", "recall", "winner", "submitted", "by")
SELECTION = {"val_recall": "recall", "val_specificity": "specificity", "val_auc": "AUC"}


def result_lines(result: ResultRead, dataset: str) -> list[str]:
    """The test figures of a finished experiment: first whether they hold for new lesions, then recall."""
    test, counts = result.test.model_dump(), result.test.confusion
    lines = [f"  {new_lesions(test, dataset)}"]
    lines += [f"  {name.upper() if name == 'recall' else name:12} {figure(test, name)}" for name in RATES]
    lines.append(f"  missed       {counts.fn} of {counts.fn + counts.tp} malignant images")
    lines.append(f"  false alarms {counts.fp} of {counts.fp + counts.tn} benign images")
    lines.append(f"  {verdict(result.guarantee.model_dump(), test).sentence}")
    return [f"Test set at the threshold {result.threshold:.4f}, winner {result.winner}:", *lines]


def experiment_row(experiment: ExperimentRead) -> tuple[str, ...]:
    """One row of a list of experiments."""
    result = experiment.result
    recall = None if result is None else result.test.recall
    return (
        experiment.id,
        experiment.spec.get("name", ""),
        experiment.status,
        f"{experiment.progress:.0%}" if experiment.waiting is None else f"no. {experiment.waiting.position}",
        "" if recall is None else f"{recall:.3f}",
        "" if result is None else result.winner,
        moment(experiment.created_at),
        experiment.submitted_by or "",
    )


def experiment_lines(experiment: ExperimentRead) -> Iterator[str]:
    """Settings and state of the experiment, and its test figures once the test set was opened."""
    spec, by = experiment.spec, experiment.submitted_by
    yield f"{experiment.id}  {spec.get('name', '')}".rstrip()
    yield f"  {_state(experiment)}"
    yield f"  submitted {moment(experiment.created_at)}{'' if by is None else f' by {by}'}"
    yield f"  {spec['dataset']}: {', '.join(spec['architectures'])} with {', '.join(spec['class_weights'])}"
    if experiment.error is not None:
        yield f"  {experiment.error.kind}: {experiment.error.message}"
    if experiment.result is not None:
        yield ""
        yield from result_lines(experiment.result, spec["dataset"])
        yield from _guarantee_and_model(experiment.result)


def trial_columns(ranking: Ranking) -> tuple[str, ...]:
    return ("trial", "rank", "status", "epochs", "best", *_figures(ranking).values(), "note")


def trial_rows(trials: Sequence[TrialRead], ranking: Ranking) -> Iterator[tuple[str, ...]]:
    """One row per trial: by rank, then those that cannot win, with the reason."""
    places = {trial.id: place for place, trial in enumerate(ranking.order(trials), start=1)}
    for trial in sorted(trials, key=lambda trial: places.get(trial.id, len(trials) + 1)):
        metrics = trial.metrics or {}
        figures = (metrics.get(name) for name in _figures(ranking))
        yield (
            trial.name,
            str(places.get(trial.id, "")),
            trial.status,
            str(trial.epochs_done) if trial.kind == "train" else "",
            "" if trial.best_epoch is None else str(trial.best_epoch),
            *("" if value is None else f"{value:.3f}" for value in figures),
            "" if trial.error is None else trial.error.message,
        )


def _figures(ranking: Ranking) -> dict[str, str]:
    """The figures of the table and their labels, the one that ranks first."""
    return {ranking.metric: ranking.label} | {name: SELECTION[name] for name in SELECTION if name != ranking.metric}


def failure_message(experiment: ExperimentRead) -> str:
    return "" if experiment.error is None else experiment.error.message


def _guarantee_and_model(result: ResultRead) -> Iterator[str]:
    yield f"  {result.guarantee.sentence}"
    yield f"  model        {result.model_version}"
    if result.promotion is not None:
        yield f"  {result.promotion.sentence}"


def waiting_line(waiting: WaitingRead) -> str:
    """Its place in the queue, and when it is expected to start."""
    expected = waiting.expected_start
    starts = "its start cannot be estimated" if expected is None else f"expected to start at {moment(expected)}"
    return f"number {waiting.position} in the queue, {starts}"


def _state(experiment: ExperimentRead) -> str:
    if experiment.waiting is not None:
        return f"{experiment.status}, {waiting_line(experiment.waiting)}"
    return f"{experiment.status}, phase {experiment.phase} of 3, {experiment.progress:.0%}{_took(experiment)}"


def _took(experiment: ExperimentRead) -> str:
    if experiment.started_at is None or experiment.finished_at is None or experiment.status not in ENDED:
        return ""
    seconds = (experiment.finished_at - experiment.started_at).total_seconds()
    return f", took {timedelta(seconds=round(seconds))}"
