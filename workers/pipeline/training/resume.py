"""The resume point of a training run: everything that an interrupted run needs to continue exactly.

An epoch is a function of the weights, the optimizer's state, the seed and its number (see `randomness`), so the point
holds these and the history. It is one file without pickles, replaced in one step. It refers to the checkpoint of the
best epoch, which is written before it, so that a kill at any instant leaves a complete point.
"""

import json
import shutil
from pathlib import Path

import keras
import numpy as np

from models_store.contract.outcomes import Epoch
from models_store.files import replacing
from workers.pipeline.training.progress import RESUME_FOLDER, RESUME_STATE, Progress

CHECKPOINT = "best.keras"


class ResumePointMismatch(ValueError):
    """A folder holds the resume point of another run."""


def save_resume_point(folder: Path, run: str, trainer: keras.Model, model: keras.Model, progress: Progress) -> None:
    """Write the state of `trainer` and `progress` and, if its last epoch is the best, `model`; `run` identifies it."""
    best = progress.best
    if best is not None and best is progress.epochs[-1]:
        with replacing(_checkpoint_of(folder, best)) as beside:
            model.save(beside)
    history = json.dumps({"run": run, "epochs": [epoch.values() for epoch in progress.epochs]})
    arrays = {f"variable_{position}": np.asarray(value) for position, value in enumerate(_variables(trainer))}
    arrays["history"] = np.frombuffer(history.encode(), dtype=np.uint8)
    if progress.best_scores is not None:
        arrays["best_scores"] = progress.best_scores
    with replacing(folder / RESUME_FOLDER / RESUME_STATE) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    _remove_surpassed(folder, best)


def load_resume_point(folder: Path, run: str, trainer: keras.Model) -> Progress:
    """Put the saved state into `trainer` and return the progress, which is empty if the folder holds none.

    Raises ResumePointMismatch if the point was saved by a run that `run` does not identify.
    """
    path = folder / RESUME_FOLDER / RESUME_STATE
    if not path.exists():
        return Progress()
    with np.load(path, allow_pickle=False) as saved:
        history = json.loads(saved["history"].tobytes())
        if history["run"] != run:
            raise ResumePointMismatch(
                f"{path} belongs to a run with another network, schedule, policy or data set; "
                "train in an empty folder, or empty this one"
            )
        for position, variable in enumerate(_variables(trainer)):
            variable.assign(saved[f"variable_{position}"])
        epochs = tuple(Epoch(**epoch) for epoch in history["epochs"])
        return Progress(epochs, saved.get("best_scores"))


def keep_checkpoint(folder: Path, best: Epoch) -> Path:
    """Copy the checkpoint of the `best` epoch to `folder/best.keras`; the resume point stays usable."""
    with replacing(folder / CHECKPOINT) as beside:
        shutil.copyfile(_checkpoint_of(folder, best), beside)
    return folder / CHECKPOINT


def _checkpoint_of(folder: Path, epoch: Epoch) -> Path:
    return folder / RESUME_FOLDER / f"epoch-{epoch.number}.keras"


def _remove_surpassed(folder: Path, best: Epoch | None) -> None:
    for checkpoint in (folder / RESUME_FOLDER).glob("*.keras"):  # half-written ones too, which a kill leaves
        if best is None or checkpoint != _checkpoint_of(folder, best):
            checkpoint.unlink()


def _variables(trainer: keras.Model) -> list[keras.Variable]:
    return [*trainer.weights, *trainer.optimizer.variables]
