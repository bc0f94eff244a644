"""A model that nobody trained, stored, recorded and promoted as every other: for measuring how fast one answers."""

import tempfile
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from models_store import runs
from models_store.contract.outcomes import Exit, Finalized
from models_store.contract.specs import CalibrationSpec, Checkpoint, ExperimentSpec, FinalSpec
from models_store.database import Database
from models_store.datasets.registration import register
from models_store.datasets.synthetic import generate
from models_store.experiment import phases
from models_store.files import sha256_of
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import Trial
from workers.trial.jobs import do_final_job
from workers.trial.protocol import Job, RegisteredFile

IMAGES = (320, 160, 80)
SEED = 1


def promote_untrained(architecture: str, settings: Settings, database: Database) -> str:
    """Exports, calibrates and tests the network on a few generated images and makes it champion; returns its key
    in the store. Keras has to be configured before.
    """
    storage = Storage(settings.store_url)
    spec = ExperimentSpec(
        dataset="few",
        architectures=(architecture,),
        strategies=(),
        weights="none",
        seed=SEED,
        calibration=CalibrationSpec(policy="youden"),
        promote="always",
    )
    with tempfile.TemporaryDirectory(prefix="untrained-") as name:
        folder = Path(name)
        final = _winner(spec, storage, folder)
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


def _winner(spec: ExperimentSpec, storage: Storage, folder: Path) -> FinalSpec:
    from workers.pipeline.networks.building import build_model

    ((name, trial),) = phases.screening(spec).items()
    checkpoint = Checkpoint(trial_id="trl_untrained", key="trials/untrained.keras", sha256="")
    build_model(trial, 28, base_weights=None, seed=SEED).save(folder / "untrained.keras")
    storage.put_file(folder / "untrained.keras", checkpoint.key)
    sha256 = sha256_of(folder / "untrained.keras")
    return FinalSpec(winner=name, trial=trial, checkpoint=checkpoint.model_copy(update={"sha256": sha256}))


def _claim(spec: ExperimentSpec, final: FinalSpec, database: Database) -> runs.Claim:
    """The final trial of an experiment whose screening is taken for done."""
    with database.write() as session:
        experiment_id = runs.submit(session, spec).id
        (trial,) = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id))
        trial.phase, trial.name, trial.kind, trial.spec = 3, "final", "finalize", final.model_dump(mode="json")
    with database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "benchmark:1", timedelta(hours=1))
    assert claim is not None
    return claim
