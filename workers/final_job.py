"""Phase 3 inside a trial's process: the winner becomes a stored bundle, and its figures a result."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_store import bundles
from models_store.settings import Settings
from models_store.signatures import Signer
from models_store.specs import FinalSpec
from models_store.storage import Storage
from workers.job import Job, Outcome, model_version
from workers.job_inputs import dataset_of, environment, fetch


def do_final_job(job: Job, final: FinalSpec, settings: Settings, storage: Storage, folder: Path) -> Outcome:
    """Exports, calibrates, freezes and tests the winner, and stores its bundle under a version nobody had before."""
    from workers.pipeline.seal import SealedTestSet
    from workers.pipeline.study import Candidate, FinalModel, finalize

    signer = None if settings.signing_key is None else Signer.of(settings.signing_key)
    dataset = dataset_of(job, settings, storage)
    version = model_version(job.trial_id, job.fence)
    store_key = f"models/{version}"
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=folder) as name:
        bundle = Path(name)
        checkpoint = fetch(final.checkpoint, storage, bundle / "winner.keras")
        candidate = Candidate(final.winner, final.trial, checkpoint, job.experiment_id)
        sealed = SealedTestSet(dataset)
        model: FinalModel = finalize(
            candidate, job.experiment, dataset, sealed, bundle, environment=environment(), signer=signer
        )
        bundles.upload(bundle, storage, store_key)
    return Outcome(status="succeeded", result=_final_result(model, version, store_key))


def _final_result(model: Any, version: str, store_key: str) -> dict[str, Any]:
    about, evaluation = model.about, model.evaluation.model_dump(mode="json")
    named = {key: about[key] for key in ("dataset", "dataset_sha256", "synthetic", "weights", "winner", "architecture")}
    return {
        "model": {
            **named,
            "version": version,
            "store_key": store_key,
            "bundle_sha256": model.opening.bundle_sha256,
            "manifest_sha256": model.manifest_sha256,
            "signed_by": model.signed_by,
            "threshold": model.opening.threshold,
        },
        "opening": {
            "dataset": about["dataset"],
            "dataset_sha256": about["dataset_sha256"],
            "bundle_sha256": model.opening.bundle_sha256,
            "threshold": model.opening.threshold,
            "images": model.test_images,
            "opened_at": model.opened_at.isoformat(),
        },
        "calibration": model.calibration,
        "validation": model.validation,
        "warnings": model.warnings,
        "evaluation": evaluation,
        "export": asdict(model.parity),
        "environment": environment(),
    }
