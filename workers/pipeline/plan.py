"""Which trials a phase consists of. Imports no Keras: the Celery process plans, the trial's process trains."""

from collections.abc import Mapping

from models_store.catalog import ARCHITECTURES, STRATEGIES, CustomCNN, Strategy
from models_store.specs import Checkpoint, ExperimentSpec, TrialSpec


def screening(spec: ExperimentSpec) -> dict[str, TrialSpec]:
    """Phase 1: every architecture with every class weight, by trial name."""
    return {
        f"{architecture}/{class_weight}": _first_trial(spec, architecture, class_weight)
        for architecture in spec.architectures
        for class_weight in spec.class_weights
    }


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
