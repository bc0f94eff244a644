"""What a publication needs to name an experiment and to run it again, and the command as a shell runs it."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.datasets.citations import HAM10000, MEDMNIST
from models_store.store.storage import Storage
from models_store.tables import Experiment
from tests.finished_experiment import DATASET_SHA256, ENVIRONMENT, a_final_record, a_spec, store_finished

REPOSITORY = Path(__file__).parents[3]
ADDRESSES = ("/experiments/{}/result", "/v1/experiments/{}/report")


@pytest.fixture
def experiment_id(database: Database, storage: Storage, tmp_path: Path) -> str:
    spec = a_spec(name='it\'s $HOME, "`quoted`" \\ é', dataset="dermamnist", calibration={"target_recall": 0.95})
    with database.write() as session:
        stored = store_finished(session, storage, tmp_path / "bundle", spec, a_final_record(images=200))
        session.get_one(Experiment, stored).spec = spec.model_dump(mode="json") | {"repeats": 2}
        return stored


def cited(url: str, address: str, experiment_id: str) -> str:
    page = httpx.get(url + address.format(experiment_id), trust_env=False).raise_for_status().text
    return html.unescape(page.split('id="cite"')[1].split("</section>")[0])


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_command_that_is_shown_submits_the_same_specification(
    server: str, experiment_id: str, database: Database, address: str
) -> None:
    [command] = re.findall(r"<pre[^>]*>(.*?)</pre>", cited(server, address, experiment_id), re.DOTALL)
    search = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'client'}",
    }
    ran = subprocess.run(
        ["sh", "-c", command], env=os.environ | search, capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert "Submitted exp_" in ran.stdout
    with database.read() as session:
        specs = [ExperimentSpec.model_validate(row.spec) for row in session.query(Experiment).all()]
    assert len(specs) == 2
    assert specs[0] == specs[1]


@pytest.mark.parametrize("address", ADDRESSES)
def test_commit_data_set_seeds_and_publications_are_named(server: str, experiment_id: str, address: str) -> None:
    shown = " ".join(re.sub(r"<[^>]+>", " ", cited(server, address, experiment_id)).split())
    assert "DermaTriage, version " in shown
    assert f"Commit {ENVIRONMENT['commit']}" in shown
    assert f"Data set, sha256 {DATASET_SHA256}" in shown
    assert "Seeds 42, 43" in shown
    assert HAM10000 in shown
    assert MEDMNIST in shown
