"""Train one network: epochs, early stopping, the best checkpoint, and an exact continuation after a kill."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import keras
import numpy as np
from numpy.typing import NDArray

from models_store.contract.outcomes import Epoch
from models_store.contract.recipes import RECIPES, Recipe
from models_store.experiment.selection import Policy, collapse_reason, improves
from workers.pipeline.data import ExperimentData
from workers.pipeline.training.epoch_metrics import binary_metrics
from workers.pipeline.training.fitting import fit_epoch, malignant_scores, trainer_of
from workers.pipeline.training.progress import Progress
from workers.pipeline.training.resume import keep_checkpoint, load_resume_point, save_resume_point

End = Literal["epochs", "patience", "diverged"]


@dataclass(frozen=True)
class Schedule:
    """How a network is trained; `target_recall` is where val_specificity_at_recall is read.

    `patience` means nothing to a recipe that does not stop early.
    """

    epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    class_weight: Mapping[int, float] | None
    seed: int
    target_recall: float = 0.90
    recipe: Recipe = RECIPES["classic"]

    def steps(self, images: int) -> int:
        """How many steps all epochs on so many images have."""
        return self.epochs * math.ceil(images / self.batch_size)


@dataclass(frozen=True)
class TrainingOutcome:
    """The result of `train`. `best`, `checkpoint` and `selection_scores` (N,) are None where no epoch was eligible, and
    `collapsed` then gives the reason. `diverged` means that the loss or a score stopped being finite.
    """

    epochs: tuple[Epoch, ...]
    best: Epoch | None
    collapsed: str | None
    checkpoint: Path | None
    selection_scores: NDArray[np.float64] | None
    ended: End


def train(
    model: keras.Model,
    data: ExperimentData,
    schedule: Schedule,
    policy: Policy,
    folder: Path,
    on_epoch: Callable[[Epoch], None],
) -> TrainingOutcome:
    """Train `model` in place and keep its best epoch as `folder/best.keras`, uncompiled.

    `folder` belongs to this run alone. If it holds a resume point the run continues from there, and `on_epoch` gets the
    earlier epochs again: record epochs by their number. On one machine's CPU the metrics depend on the
    arguments alone, interrupted or not. Raises `ResumePointMismatch`, and OSError if the disk is full.
    """
    trainer = trainer_of(model, schedule.learning_rate, schedule.recipe, schedule.steps(len(data.train.labels)))
    run = _identity(model, data, schedule, policy)
    progress = load_resume_point(folder, run, trainer)
    for epoch in progress.epochs:
        on_epoch(epoch)
    ended = _ended(progress, schedule)
    while ended is None:
        reached = _one_more_epoch(progress, trainer, data, schedule, policy)
        if reached is None:
            ended = "diverged"
            break
        progress = reached
        save_resume_point(folder, run, trainer, model, progress)
        on_epoch(progress.epochs[-1])
        ended = _ended(progress, schedule)
    return _outcome(progress, policy, folder, ended)


def _ended(progress: Progress, schedule: Schedule) -> End | None:
    if len(progress.epochs) >= schedule.epochs:
        return "epochs"
    out_of_patience = schedule.recipe.stops_early and progress.epochs_since_best >= schedule.patience
    return "patience" if out_of_patience else None


def _one_more_epoch(
    progress: Progress,
    trainer: keras.Model,
    data: ExperimentData,
    schedule: Schedule,
    policy: Policy,
) -> Progress | None:
    """The progress after the next epoch, or None if the loss or a score is no longer finite."""
    started = time.perf_counter()
    number = len(progress.epochs) + 1
    trained = fit_epoch(
        trainer,
        data.train,
        schedule.batch_size,
        schedule.class_weight,
        schedule.seed,
        number,
        schedule.recipe.target,
    )
    scores = malignant_scores(trainer, data.selection.images)
    if not (math.isfinite(trained["loss"]) and np.isfinite(scores).all()):
        return None
    selected = binary_metrics(scores, data.selection.malignant, target_recall=schedule.target_recall)
    metrics = trained | {f"val_{name}": value for name, value in selected.items()}
    epoch = Epoch(
        number=number,
        metrics=metrics,
        seconds=time.perf_counter() - started,
        eligible=policy.rank(metrics) is not None,
        best=_is_best(policy, metrics, progress, schedule),
    )
    return progress.after(epoch, scores)


def _is_best(policy: Policy, metrics: dict[str, float], progress: Progress, schedule: Schedule) -> bool:
    """Where the learning rate falls to zero, the later of two eligible epochs is the better one."""
    if not schedule.recipe.stops_early:
        return policy.rank(metrics) is not None
    return improves(policy, metrics, progress.best.metrics if progress.best else None)


def _outcome(progress: Progress, policy: Policy, folder: Path, ended: End) -> TrainingOutcome:
    best = progress.best
    if best is not None:
        checkpoint = keep_checkpoint(folder, best)
        return TrainingOutcome(progress.epochs, best, None, checkpoint, progress.best_scores, ended)
    reason = collapse_reason(policy, [epoch.metrics for epoch in progress.epochs])
    if ended == "diverged":
        reason += f"; the loss stopped being finite in epoch {len(progress.epochs) + 1}"
    return TrainingOutcome(progress.epochs, None, reason, None, None, ended)


def _identity(model: keras.Model, data: ExperimentData, schedule: Schedule, policy: Policy) -> str:
    """A hash of the network's weights' shapes, the schedule, the policy and the data, by which a run is identified.

    The names of layers are left out: Keras numbers them through a process. So is the recipe `classic`, so that
    a run of an earlier version, which had no other, can continue.
    """
    network = [[list(weight.shape), weight.trainable] for weight in model.weights]
    settings = asdict(schedule)
    if schedule.recipe == RECIPES["classic"]:
        del settings["recipe"]
    else:
        del settings["recipe"]["description"]
    digest = hashlib.sha256(json.dumps([network, settings, asdict(policy)]).encode())
    for part in (data.train, data.selection):
        for array in (part.images, part.malignant if schedule.recipe.target == "malignant" else part.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
