"""An untrained model, stored, recorded and promoted like any other, for measurements of speed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import select

from models_store import runs
from models_store.contract.outcomes import Exit, Finalized
from models_store.contract.specs import (
    CalibrationSpec,
    Checkpoint,
    ExperimentSpec,
    FinalModelSpec,
    FinalSpec,
    TrainedNetwork,
)
from models_store.database import Database
from models_store.datasets.registration import register
from models_store.datasets.synthetic import generate
from models_store.experiment import phases
from models_store.files import sha256_of
from models_store.settings import Settings
from models_store.store.folders import trial_checkpoints
from models_store.store.storage import Storage
from models_store.tables import Trial
from workers.trial.jobs import do_final_job
from workers.trial.protocol import Job, RegisteredFile

IMAGES = (320, 160, 80)
SEED = 1


@dataclass(frozen=True)
class Untrained:
    """A network on images of 28 pixels a side, of which it sees `input_size`, or its own where None."""

    architecture: str
    input_size: int | None = None

    @property
    def asked(self) -> dict[str, tuple[object, ...]]:
        """The fields of a specification that screen this network alone."""
        sizes = () if self.input_size is None else (self.input_size,)
        return {"architectures": (self.architecture,), "input_sizes": sizes}

    def __str__(self) -> str:
        return self.architecture if self.input_size is None else f"{self.architecture} at {self.input_size}"


def promote_untrained(
    network: Untrained, settings: Settings, database: Database, *, others: Sequence[Untrained] = (), views: int = 1
) -> str:
    """Exports, calibrates and tests the network on a few generated images and makes it champion; returns its key
    in the store. It is averaged with all `others` and over `views`. Keras has to be configured before.
    """
    storage = Storage(settings.store_url)
    spec = ExperimentSpec(
        dataset="few",
        architectures=(network.architecture,),
        strategies=(),
        weights="none",
        seed=SEED,
        calibration=CalibrationSpec(policy="youden"),
        promote="always",
        final=FinalModelSpec.model_validate({"views": views, "ensemble": 1 + len(others)}),
    )
    with tempfile.TemporaryDirectory(prefix="untrained-") as name:
        folder = Path(name)
        winner, *rest = (
            _network(each, number, spec, storage, folder) for number, each in enumerate((network, *others))
        )
        final = FinalSpec(winner=winner.name, trial=winner.trial, checkpoint=winner.checkpoint, others=tuple(rest))
        claim = _claim(spec, final, database)
        generate(folder / "few.npz", counts=IMAGES, seed=SEED)
        taken = register(folder / "few.npz", "few", storage=storage)
        job = Job(
            trial_id=claim.trial_id,
            experiment_id=claim.experiment_id,
            name="final",
            attempt=1,
            fence=claim.fence,
            experiment=spec,
            work=final,
            dataset=RegisteredFile(
                name="few", sha256=taken.sha256, store_key=taken.store_key, lesions_store_key=taken.lesions_store_key
            ),
        )
        outcome = do_final_job(job, final, settings, storage, folder)
    with database.write() as session:
        runs.record(session, claim, Exit(reason="finished", outcome=outcome), max_attempts=1)
    assert isinstance(outcome, Finalized)
    return outcome.store_key


def _network(network: Untrained, number: int, spec: ExperimentSpec, storage: Storage, folder: Path) -> TrainedNetwork:
    """Networks but the first answer 0.5 for every image, which changes no rank: the ensemble takes all of them."""
    from workers.pipeline.backend import OUTPUT_NAME
    from workers.pipeline.networks.building import build_model

    ((name, trial),) = phases.screening(spec.model_copy(update=network.asked)).items()
    model = build_model(trial, 28, base_weights=None, seed=SEED + number)
    if number > 0:
        last = model.get_layer(OUTPUT_NAME)
        last.set_weights([np.zeros_like(weights) for weights in last.get_weights()])
    path = folder / f"untrained-{number}.keras"
    model.save(path)
    storage.put_file(path, key := trial_checkpoints(path.name))
    checkpoint = Checkpoint(trial_id=f"trl_untrained_{number}", key=key, sha256=sha256_of(path))
    return TrainedNetwork(name=f"{name}/{number}", trial=trial, checkpoint=checkpoint)


def _claim(spec: ExperimentSpec, final: FinalSpec, database: Database) -> runs.Claim:
    """The final trial of an experiment whose screening counts as done."""
    with database.write() as session:
        experiment_id = runs.submit(session, spec).id
        (trial,) = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id))
        trial.phase, trial.name, trial.kind, trial.spec = 3, "final", "finalize", final.model_dump(mode="json")
    with database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "benchmark:1", timedelta(hours=1))
    assert claim is not None
    return claim
