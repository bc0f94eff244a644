"""What an experiment needs next: decided from its rows alone, so that anyone may ask at any time."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.catalog import ARCHITECTURES, STRATEGIES, CustomCNN, Strategy
from models_store.contract.specs import Checkpoint, ExperimentSpec, FinalSpec, TrialSpec
from models_store.experiment.selection import choose, policy_for
from models_store.runs import UNFINISHED, PlannedTrial
from models_store.tables import Experiment, Trial


def advance(session: Session, experiment_id: str) -> dict[str, int]:
    """Opens the next phase, or fails the experiment, once every trial of its phase has ended.

    Returns how many trials were queued, by queue. Only one of several concurrent callers opens a phase.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None or experiment.status not in ("queued", "running"):
        return {}
    trials = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.position)).all()
    if any(trial.status in UNFINISHED for trial in trials):
        return {}
    spec = ExperimentSpec.model_validate(experiment.spec)
    if experiment.phase == 0:
        return _open(session, experiment_id, 1, _training(spec, screening(spec)))
    winner = _winner(spec, trials)
    if winner is None or experiment.phase == 3:
        runs.fail_experiment(session, experiment_id, _why_none(trials, experiment.phase))
        return {}
    checkpoint, trial = _checkpoint(winner), TrialSpec.model_validate(winner.spec)
    if experiment.phase == 1 and spec.strategies:
        return _open(session, experiment_id, 2, _training(spec, fine_tuning(spec, trial, checkpoint)))
    if experiment.phase == 1:
        runs.open_phase(session, experiment_id, 2, [])
    final = FinalSpec(winner=winner.name, trial=trial, checkpoint=checkpoint)
    # Phase 3 exports through TensorFlow and takes a minute; it never needs a GPU, which may have JAX alone.
    planned = PlannedTrial(name="final", kind="finalize", queue="cpu", spec=final.model_dump(mode="json"))
    return _open(session, experiment_id, 3, [planned])


def _training(spec: ExperimentSpec, trials: dict[str, TrialSpec]) -> list[PlannedTrial]:
    return [
        PlannedTrial(name=name, kind="train", queue=spec.queue, spec=trial.model_dump(mode="json"))
        for name, trial in trials.items()
    ]


def _open(session: Session, experiment_id: str, phase: int, trials: Sequence[PlannedTrial]) -> dict[str, int]:
    if not runs.open_phase(session, experiment_id, phase, trials):
        return {}
    queues = [trial.queue for trial in trials]
    return {queue: queues.count(queue) for queue in set(queues)}


def _winner(spec: ExperimentSpec, trials: Sequence[Trial]) -> Trial | None:
    """The best of all trained trials: the Phase-1 winner stays in the contest of Phase 2."""
    trained = {trial.id: trial for trial in trials if trial.kind == "train" and trial.status == "succeeded"}
    best = choose(policy_for(spec.selection), {key: trial.metrics or {} for key, trial in trained.items()})
    return None if best is None else trained[best]


def _checkpoint(trial: Trial) -> Checkpoint:
    if trial.checkpoint_key is None or trial.checkpoint_sha256 is None:
        raise RuntimeError(f"trial {trial.id} succeeded without a checkpoint")
    return Checkpoint(trial_id=trial.id, key=trial.checkpoint_key, sha256=trial.checkpoint_sha256)


def _why_none(trials: Sequence[Trial], phase: int) -> dict[str, Any]:
    ended = [trial for trial in trials if trial.phase == phase]
    reasons = "; ".join(f"{trial.name} {trial.status}: {(trial.error or {}).get('message', '')}" for trial in ended)
    kinds = {(trial.error or {}).get("kind", "") for trial in ended}
    kind = kinds.pop() if len(kinds) == 1 else "NoTrialSucceeded"
    return {"kind": kind, "phase": phase, "message": reasons}


def screening(spec: ExperimentSpec) -> dict[str, TrialSpec]:
    """Phase 1: every architecture with every class weight, by trial name."""
    return {
        f"{architecture}/{class_weight}": _first_trial(spec, architecture, class_weight)
        for architecture in spec.architectures
        for class_weight in spec.class_weights
    }


def planned_trials(spec: ExperimentSpec) -> int:
    """How many trials the experiment has in all: screening, fine-tuning and the final evaluation."""
    return len(spec.architectures) * len(spec.class_weights) + len(spec.strategies) + 1


def fine_tuning(spec: ExperimentSpec, winner: TrialSpec, checkpoint: Checkpoint) -> dict[str, TrialSpec]:
    """Phase 2: every strategy applied to the Phase-1 winner, by trial name.

    A transfer model starts again from the weights of its base; a custom CNN from the winner's checkpoint, because
    freezing layers with random weights would be senseless.
    """
    is_custom = isinstance(ARCHITECTURES[winner.architecture], CustomCNN)
    changed_from = winner.model_copy(update={"starts_from": checkpoint if is_custom else None})
    return {f"{winner.architecture}/{name}": _apply(STRATEGIES[name], changed_from) for name in spec.strategies}


def _first_trial(spec: ExperimentSpec, name: str, class_weight: str) -> TrialSpec:
    architecture = ARCHITECTURES[name]
    return TrialSpec(
        architecture=name,
        class_weight=class_weight,
        learning_rate=architecture.learning_rate,
        dropout=architecture.dropout,
        batch_size=architecture.batch_size,
        unfreeze="all" if isinstance(architecture, CustomCNN) else architecture.unfreeze,
        seed=spec.seed,
    )


def _apply(strategy: Strategy, trial: TrialSpec) -> TrialSpec:
    changes: Mapping[str, float | None] = {"dropout": strategy.dropout, "learning_rate": strategy.learning_rate}
    return trial.model_copy(
        update={
            "strategy": strategy.name,
            "unfreeze": strategy.unfreeze,
            **{field: value for field, value in changes.items() if value is not None},
        }
    )
