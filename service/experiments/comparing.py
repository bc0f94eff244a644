"""Experiments side by side: the settings that differ, their trials and results, and repetitions with other seeds."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import (
    ComparedExperiment,
    ComparedSetting,
    ComparedTrial,
    ExperimentComparison,
    SeedGroup,
    Spread,
)
from models_store.experiment.ranking import Ranking
from models_store.runs import find_experiment
from models_store.tables import Experiment, Model, Trial

Json = Mapping[str, Any]
FIGURES = ("recall", "specificity", "roc_auc", "f2", "pr_auc")
SELECTION_FIGURES = ("val_recall", "val_specificity", "val_auc", "val_f2", "val_specificity_at_recall")
# These fields do not change the results of an experiment.
WITHOUT_EFFECT = ("name", "seed", "priority", "queue", "limits", "promote")
NOT_SETTINGS = ("name",)


def compare_experiments(session: Session, ids: Sequence[str]) -> ExperimentComparison:
    """Raises `ExperimentNotFound`."""
    rows = [find_experiment(session, experiment_id) for experiment_id in dict.fromkeys(ids)]
    models = {
        model.experiment_id: model
        for model in session.scalars(select(Model).where(Model.experiment_id.in_([row.id for row in rows])))
    }
    trials = session.scalars(
        select(Trial)
        .where(Trial.experiment_id.in_([row.id for row in rows]), Trial.kind == "train")
        .order_by(Trial.phase, Trial.position)
    ).all()
    experiments = [_experiment(row, models.get(row.id), trials) for row in rows]
    return ExperimentComparison(
        experiments=experiments,
        settings=_settings([row.spec for row in rows]),
        trials=_trials(rows, trials),
        groups=_groups(rows, experiments),
    )


def _experiment(row: Experiment, model: Model | None, trials: Sequence[Trial]) -> ComparedExperiment:
    ranking, own = Ranking.of_answer(row.spec), [trial for trial in trials if trial.experiment_id == row.id]
    first = next(iter(ranking.order(own)), None)
    return ComparedExperiment(
        id=row.id,
        name=row.name,
        status=row.status,
        seed=row.spec["seed"],
        first=None if first is None else f"{first.name}, {ranking.figure(first)}",
        winner=None if model is None else model.winner,
        model_version=None if model is None or model.deleted_at is not None else model.version,
        test_set=None if model is None else model.dataset_sha256,
        threshold=None if model is None else model.threshold,
        test=None if model is None else {name: model.metrics.get(name) for name in FIGURES},
    )


def _settings(specs: Sequence[Json]) -> list[ComparedSetting]:
    flat = [dict(_leaves(spec)) for spec in specs]
    fields = dict.fromkeys(field for spec in flat for field in spec if field not in NOT_SETTINGS)
    compared = (ComparedSetting(field=field, values=[spec.get(field) for spec in flat]) for field in fields)
    return [setting for setting in compared if any(value != setting.values[0] for value in setting.values)]


def _leaves(spec: Json, outer: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by its path, such as `calibration.target_recall`."""
    for name, value in spec.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{outer}{name}.")
        else:
            yield f"{outer}{name}", value


def _trials(rows: Sequence[Experiment], trials: Sequence[Trial]) -> list[ComparedTrial]:
    found = {(trial.experiment_id, trial.name): trial for trial in trials}
    return [
        ComparedTrial(name=name, results=[_result(found.get((row.id, name))) for row in rows])
        for name in dict.fromkeys(trial.name for trial in trials)
    ]


def _result(trial: Trial | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    metrics = trial.metrics or {}
    return {"status": trial.status, **{name: metrics.get(name) for name in SELECTION_FIGURES}}


def _groups(rows: Sequence[Experiment], experiments: Sequence[ComparedExperiment]) -> list[SeedGroup]:
    """Groups of at least two experiments that differ only in their seed."""
    by_settings: list[tuple[Json, list[ComparedExperiment]]] = []
    for row, experiment in zip(rows, experiments, strict=True):
        key = {name: value for name, value in row.spec.items() if name not in WITHOUT_EFFECT}
        members = next((members for known, members in by_settings if known == key), None)
        if members is None:
            by_settings.append((key, [experiment]))
        else:
            members.append(experiment)
    return [_group(members) for _, members in by_settings if len({member.seed for member in members}) > 1]


def _group(members: Sequence[ComparedExperiment]) -> SeedGroup:
    tested = [member.test for member in members if member.test is not None]
    values = {name: [value for test in tested if (value := test[name]) is not None] for name in FIGURES}
    return SeedGroup(
        experiments=[member.id for member in members],
        seeds=[member.seed for member in members],
        figures={name: _spread(found) for name, found in values.items() if found},
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        runs=len(values),
        mean=fmean(values),
        standard_deviation=stdev(values) if len(values) > 1 else None,
        lowest=min(values),
        highest=max(values),
    )
