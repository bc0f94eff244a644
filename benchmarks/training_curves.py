"""The scores of every epoch of a training run, kept in a folder, so that policies can be replayed on them."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from models_store.contract.catalog import CLASS_WEIGHTS
from models_store.contract.outcomes import Epoch
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec, TrialSpec
from models_store.datasets.labels import malignant_of
from models_store.datasets.layout import Split, read_split
from models_store.experiment.phases import screening
from models_store.experiment.selection import policy_for
from models_store.files import replacing
from workers.pipeline.backend import predict
from workers.pipeline.data import experiment_data, scaled
from workers.pipeline.networks.building import build_model
from workers.pipeline.training.training import Schedule, train


@dataclass(frozen=True)
class Curve:
    """Scores (epochs, images) of one run on the part held out of train (if any), on validation and on test."""

    seed: int
    selection: NDArray[np.float64]
    validation: NDArray[np.float64]
    test: NDArray[np.float64]


def training_curve(dataset: Path, calibration: CalibrationSpec, seed: int, epochs: int, folder: Path) -> Curve:
    """Train CNN_v1 with W3 for all `epochs`, without early stopping, or continue from the resume point in `folder`.

    With `source: validation` the network is trained on all of train and `selection` is the part that `seed` gives.
    """
    data = experiment_data(dataset, calibration, seed)
    trial = screening(ExperimentSpec(dataset=dataset.stem, architectures=("CNN_v1",), seed=seed))["CNN_v1/W3"]
    model = build_model(trial, data.image_size, base_weights=None, seed=seed)
    splits = {
        "selection": data.selection,
        "validation": read_split(dataset, "val"),
        "test": read_split(dataset, "test"),
    }

    def keep_scores(epoch: Epoch) -> None:
        path = folder / f"scores-{epoch.number}.npz"
        # Epochs before a resume point are reported again. Only the last, at which the model is, can lack its scores.
        if not path.exists():
            print(f"  {folder.name}, epoch {epoch.number} of {epochs}, {epoch.seconds:.1f} s", flush=True)
            with replacing(path) as beside, beside.open("wb") as file:
                np.savez(file, allow_pickle=False, **{name: _scores(model, split) for name, split in splits.items()})

    unguarded = policy_for(SelectionSpec(policy="val_recall_unguarded"))
    if not (folder / f"scores-{epochs}.npz").exists():
        train(model, data, _schedule(trial, epochs), unguarded, folder, keep_scores)
    return _read(folder, seed, epochs)


def _schedule(trial: TrialSpec, epochs: int) -> Schedule:
    return Schedule(
        epochs, epochs, trial.batch_size, trial.learning_rate, CLASS_WEIGHTS[trial.class_weight], trial.seed
    )


def _scores(model: keras.Model, split: Split) -> NDArray[np.float64]:
    return malignant_of(predict(model, scaled(split.images))).astype(np.float64)


def _read(folder: Path, seed: int, epochs: int) -> Curve:
    files = [np.load(folder / f"scores-{number}.npz", allow_pickle=False) for number in range(1, epochs + 1)]
    selection, validation, test = (
        np.stack([file[name] for file in files]) for name in ("selection", "validation", "test")
    )
    return Curve(seed, selection, validation, test)
