"""The figures of a finished experiment beside those of the published study, written to docs/results.md.

    python -m benchmarks.results EXPERIMENT_ID [--out docs/results.md]

Reads the database and the store that the settings (`DERMATRIAGE_DATABASE_URL`, `DERMATRIAGE_STORE_URL`) name; trains
nothing and takes a second. Expected for the preset `laptop` on `ham10000_28`: a test recall around 0.90 or above; the
page itself says whether the goal was reached and what limits it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.results_page import Results, page
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.runs import ExperimentNotFound
from models_store.settings import Settings
from models_store.store.bundles import StoredBundle, read_json
from models_store.store.storage import Storage
from models_store.tables import Experiment, Model, TestOpening, Trial


class ExperimentNotFinished(RuntimeError):
    """An experiment that has no test figures to write down."""


class FiguresOfNobody(RuntimeError):
    """Figures on generated images, which have no place among results."""


class StoreDisagrees(RuntimeError):
    """The store's figures are not those of the database."""


def main(arguments: Sequence[str], settings: Settings) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description="Write docs/results.md.")
    parser.add_argument("experiment_id")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            text = page(read_results(session, Storage(settings.store_url), options.experiment_id))
    except (ExperimentNotFound, ExperimentNotFinished, FiguresOfNobody, StoreDisagrees) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    finally:
        database.close()
    options.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


def read_results(session: Session, storage: Storage, experiment_id: str) -> Results:
    """Read and verify a finished experiment.

    Raises `ExperimentNotFound`, `ExperimentNotFinished`, `FiguresOfNobody` for synthetic data, and `StoreDisagrees`;
    what the store lost or changed raises as `StoredBundle` does.
    """
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}; check DERMATRIAGE_DATABASE_URL")
    model = session.scalar(select(Model).where(Model.experiment_id == experiment_id))
    opening = session.get(TestOpening, experiment_id)
    if experiment.status != "succeeded" or model is None or opening is None:
        raise ExperimentNotFinished(
            f"experiment {experiment_id} is {experiment.status} and has no test figures; wait for it"
        )
    if model.synthetic:
        raise FiguresOfNobody(f"{model.dataset} is generated: its figures are no results; use real images")
    _require_same_figures(model, storage)
    trials = session.scalars(
        select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    ).all()
    same_test_set = select(TestOpening).where(TestOpening.dataset_sha256 == opening.dataset_sha256)
    return Results(
        spec=ExperimentSpec.model_validate(experiment.spec),
        model=model,
        opening=opening,
        other_looks=len(session.scalars(same_test_set).all()) - 1,
        trials=[trial for trial in trials if trial.kind == "train"],
        environment=next((trial.environment or {} for trial in trials if trial.kind == "finalize"), {}),
    )


def _require_same_figures(model: Model, storage: Storage) -> None:
    with tempfile.TemporaryDirectory() as name:
        bundle = StoredBundle(storage, model.store_key, model.manifest_sha256, Path(name))
        if read_json(bundle.path("metrics.json")) != model.metrics:
            raise StoreDisagrees(
                f"metrics.json of {model.version} differs from the database; restore both from one backup"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Settings()))
