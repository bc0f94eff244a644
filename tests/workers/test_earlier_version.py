"""Database and store of commit 2339223 still work: the rows migrate, its experiments end, its model serves.

The archive `made_by_2339223.zip` was written by that commit's own code: the rows of a finished, a running and a queued
experiment, and the store with the bundle of the finished one, whose figures are fabricated.
"""

import io
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import MetaData

import migrations
from models_store.database import Database
from service.app import create_app
from tests.service.served import served
from tests.workers.conftest import ScriptedWorker
from workers.sweeper import Sweeper

MADE = zipfile.ZipFile(Path(__file__).with_name("made_by_2339223.zip"))
REVISION = "0005"


def rows_of_then() -> dict[str, list[dict[str, Any]]]:
    def moments(value: dict[str, Any]) -> Any:
        return datetime.fromisoformat(value["moment"]) if value.keys() == {"moment"} else value

    rows: dict[str, list[dict[str, Any]]] = json.loads(MADE.read("rows.json"), object_hook=moments)
    return rows


def put_back(database: Database) -> None:
    """Fills the database as it was and brings it up to date."""
    migrations.downgrade(database, REVISION)
    metadata = MetaData()
    metadata.reflect(database.engine)
    rows = rows_of_then()
    with database.write() as session:
        for table in metadata.sorted_tables:
            if table.name in rows:
                session.execute(table.insert(), rows[table.name])
    migrations.upgrade(database)


@pytest.fixture
def upgraded(scripted: ScriptedWorker, tmp_path: Path) -> ScriptedWorker:
    MADE.extractall(tmp_path, [name for name in MADE.namelist() if name.startswith("store/")])
    put_back(scripted.database)
    return scripted


def test_what_was_queued_or_running_ends(upgraded: ScriptedWorker) -> None:
    # Given a sweeper that has given workers time to renew their leases
    sweeper = Sweeper(upgraded.worker)
    sweeper._database_answers_since = float("-inf")
    unfinished = {row["name"]: row["id"] for row in rows_of_then()["experiments"] if row["status"] != "succeeded"}
    assert set(unfinished) == {"queued", "running"}

    # When it sweeps, and a worker runs the queued trials
    sweeper.sweep()
    upgraded.run_all()

    # Then both have ended well
    assert {upgraded.experiment(experiment_id).status for experiment_id in unfinished.values()} == {"succeeded"}


def test_what_was_finished_reads_the_same_and_its_model_answers(upgraded: ScriptedWorker, tmp_path: Path) -> None:
    (finished,) = (row for row in rows_of_then()["experiments"] if row["status"] == "succeeded")
    settings = upgraded.worker.settings.model_copy(update={"cache_root": tmp_path / "cache"})
    app = create_app(settings, database=upgraded.database, storage=upgraded.worker.storage)
    picture = io.BytesIO()
    Image.new("RGB", (28, 28), "sienna").save(picture, "PNG")
    with served(app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        read = client.get(f"/v1/experiments/{finished['id']}").json()
        answer = client.post("/predict", files={"file": ("lesion.png", picture.getvalue())}).json()
        report = client.get(f"/v1/experiments/{finished['id']}/report")
    assert read["result"] == finished["result"] | {"promotion": None}
    assert answer["model_version"] == finished["result"]["model_version"]
    assert answer["threshold"] == finished["result"]["threshold"]
    assert (report.status_code, "Incomplete record" in report.text) == (200, False)
