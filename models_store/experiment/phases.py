"""The three phases of an experiment: screen every architecture, fine-tune the winner, calibrate and test it once.

The spec and the results of the phase before decide. Nothing here writes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from models_store.contract.catalog import ARCHITECTURES, FROM_SCRATCH, RESIZING, STRATEGIES, Strategy, TransferModel
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import Checkpoint, ExperimentSpec, FinalSpec, TrainedNetwork, TrialSpec
from models_store.experiment.ranking import Ranking

if TYPE_CHECKING:
    from models_store.tables import Trial


# An ensemble chooses its members among so many of the best trials.
MAX_CANDIDATES = 12


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that a phase consists of."""

    name: str
    kind: Literal["train", "finalize"]
    queue: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class OpenPhase:
    """The experiment goes on with these trials; Phase 2 has none where the spec names no strategies."""

    phase: int
    trials: Sequence[PlannedTrial]


@dataclass(frozen=True)
class EndInFailure:
    """No trial can win; the error gives the reason."""

    error: dict[str, Any]


def planned_trials(spec: ExperimentSpec) -> int:
    """How many trials the three phases have together."""
    return len(screening(spec)) + len(spec.strategies) + 1


def first_phase(spec: ExperimentSpec) -> OpenPhase:
    return _training(1, spec, screening(spec))


def next_phase(spec: ExperimentSpec, phase: int, trials: "Sequence[Trial]") -> OpenPhase | EndInFailure:
    """What follows `phase`, all trials of which have ended; `trials` are those of every phase so far."""
    winner = best_trained(spec, trials)
    if winner is None or phase == 3:
        return EndInFailure(_why_none(trials, phase))
    checkpoint, trial = _checkpoint(winner), TrialSpec.model_validate(winner.spec)
    if phase == 1 and spec.strategies:
        return _training(2, spec, fine_tuning(spec, trial, checkpoint))
    final = FinalSpec(winner=winner.name, trial=trial, checkpoint=checkpoint, others=_others(spec, trials))
    # Phase 3 exports through TensorFlow and takes a minute; it never needs a GPU, which may have JAX alone.
    return OpenPhase(3, [PlannedTrial("final", "finalize", "cpu", final.model_dump(mode="json"))])


def screening(spec: ExperimentSpec) -> dict[str, TrialSpec]:
    """Phase 1: every architecture with every class weight, input size and seed, by trial name."""
    trials = [
        _first_trial(spec, architecture, class_weight, input_size, spec.seed + repeat)
        for architecture in spec.architectures
        for class_weight in spec.class_weights
        for input_size in (spec.input_sizes if architecture in RESIZING else ()) or (None,)
        for repeat in range(spec.repeats)
    ]
    return {_name(trial, spec): trial for trial in trials}


def fine_tuning(spec: ExperimentSpec, winner: TrialSpec, checkpoint: Checkpoint) -> dict[str, TrialSpec]:
    """Phase 2: every strategy applied to the winner of Phase 1, by trial name.

    A transfer model starts again from the weights of its base; any other network from the winner's checkpoint, because
    frozen random layers would be useless.
    """
    is_custom = isinstance(ARCHITECTURES[winner.architecture], FROM_SCRATCH)
    changed_from = winner.model_copy(update={"starts_from": checkpoint if is_custom else None})
    return {f"{winner.architecture}/{name}": _apply(STRATEGIES[name], changed_from) for name in spec.strategies}


def epochs_of(trial: "Trial", spec: ExperimentSpec) -> int:
    """`TrialSpec.most_epochs` of a row, even if an earlier version stored other fields in its spec."""
    return TrialSpec.model_construct(**trial.spec).most_epochs(spec.epochs)


def best_trained(spec: ExperimentSpec, trials: "Sequence[Trial]") -> "Trial | None":
    """The best of all trained trials: the winner of Phase 1 competes in Phase 2 as well."""
    return next(iter(Ranking.of(spec).order(trials)), None)


def _others(spec: ExperimentSpec, trials: "Sequence[Trial]") -> tuple[TrainedNetwork, ...]:
    """The trials that an ensemble may add to the winner; none unless the spec has an ensemble."""
    if spec.final.ensemble == 1:
        return ()
    return tuple(
        TrainedNetwork(name=trial.name, trial=TrialSpec.model_validate(trial.spec), checkpoint=_checkpoint(trial))
        for trial in Ranking.of(spec).order(trials)[1 : MAX_CANDIDATES + 1]
    )


def _training(phase: int, spec: ExperimentSpec, trials: dict[str, TrialSpec]) -> OpenPhase:
    planned = [PlannedTrial(name, "train", spec.queue, trial.model_dump(mode="json")) for name, trial in trials.items()]
    return OpenPhase(phase, planned)


def _name(trial: TrialSpec, spec: ExperimentSpec) -> str:
    """The architecture, its class weight and what else distinguishes it from the experiment's other trials."""
    size = f"/{trial.input_size}px" if trial.input_size is not None else ""
    seed = f"/seed{trial.seed}" if spec.repeats > 1 else ""
    return f"{trial.architecture}/{trial.class_weight}{size}{seed}"


def _first_trial(spec: ExperimentSpec, name: str, class_weight: str, input_size: int | None, seed: int) -> TrialSpec:
    architecture = ARCHITECTURES[name]
    pretrained = isinstance(architecture, TransferModel) and spec.weights == "imagenet"
    share = RECIPES[spec.recipe].pretrained_epochs if pretrained else 1.0
    return TrialSpec(
        architecture=name,
        class_weight=class_weight,
        learning_rate=architecture.learning_rate,
        dropout=architecture.dropout,
        batch_size=architecture.batch_size,
        unfreeze="all" if isinstance(architecture, FROM_SCRATCH) else architecture.unfreeze,
        seed=seed,
        recipe=spec.recipe,
        input_size=input_size,
        epochs=math.ceil(share * spec.epochs) if share < 1 else None,
    )


def _apply(strategy: Strategy, trial: TrialSpec) -> TrialSpec:
    changes = {"dropout": strategy.dropout, "learning_rate": strategy.learning_rate}
    kept = {field: value for field, value in changes.items() if value is not None}
    return trial.model_copy(update={"strategy": strategy.name, "unfreeze": strategy.unfreeze, **kept})


def _checkpoint(trial: "Trial") -> Checkpoint:
    if trial.checkpoint_key is None or trial.checkpoint_sha256 is None:
        raise RuntimeError(f"trial {trial.id} succeeded without a checkpoint")
    return Checkpoint(trial_id=trial.id, key=trial.checkpoint_key, sha256=trial.checkpoint_sha256)


def _why_none(trials: "Sequence[Trial]", phase: int) -> dict[str, Any]:
    ended = [trial for trial in trials if trial.phase == phase]
    reasons = "; ".join(f"{trial.name} {trial.status}: {(trial.error or {}).get('message', '')}" for trial in ended)
    kinds = {(trial.error or {}).get("kind", "") for trial in ended}
    kind = kinds.pop() if len(kinds) == 1 else "NoTrialSucceeded"
    return {"kind": kind, "phase": phase, "message": reasons}
