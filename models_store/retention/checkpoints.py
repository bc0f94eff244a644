"""The checkpoints that are no longer needed once their experiment has ended."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs import trials_of
from models_store.settings import Settings
from models_store.tables import Experiment, Trial


def with_prunable(session: Session, settings: Settings) -> list[str]:
    """Experiments that ended long enough ago and still have a checkpoint that may be removed."""
    moment = now(session)
    kept_days = {
        "succeeded": settings.keep_checkpoints_days,
        "cancelled": settings.keep_checkpoints_days,
        "failed": settings.keep_failed_checkpoints_days,
    }
    over = [
        and_(Experiment.status == status, Experiment.finished_at <= moment - timedelta(days=days))
        for status, days in kept_days.items()
    ]
    # Most experiments were pruned long ago, so their results are compared before their trials are read.
    chosen = (
        select(
            Experiment.id, Experiment.result["winner"].as_string(), Experiment.result["members"].as_json(), Trial.name
        )
        .join(Trial)
        .where(or_(*over), Experiment.deleted_at.is_(None), Trial.checkpoint_sha256.is_not(None))
    )
    found = {
        experiment_id
        for experiment_id, winner, members, name in session.execute(chosen)
        if name not in (winner, *(members or ()))
    }
    return [experiment_id for experiment_id in sorted(found) if prunable(session, experiment_id)]


def prunable(session: Session, experiment_id: str) -> list[Trial]:
    """Trials of an ended experiment whose checkpoint its final model was not made from.

    The sha256 stays on record until the file is removed.
    """
    trials = trials_of(session, experiment_id)
    needed = _needed(session.get_one(Experiment, experiment_id), trials)
    return [trial for trial in trials if trial.checkpoint_sha256 is not None and trial.name not in needed]


def _needed(experiment: Experiment, trials: Sequence[Trial]) -> set[str]:
    """Names of the winner and of the other members of an ensemble.

    Where a result of an earlier version names no members, every candidate counts as one.
    """
    if experiment.status != "succeeded":
        return set()
    result = experiment.result or {}
    members = result.get("members") or [other["name"] for trial in trials for other in trial.spec.get("others", ())]
    return {result["winner"], *members}
