"""A worker whose trials follow a script, on both databases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from models_store import runs
from models_store.broker import broker
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import Event, Experiment, Model, TestOpening, Trial
from workers.worker import work
from workers.worker.context import Worker

WEBHOOK_SECRET = "a secret that both sides know"

SPEC: dict[str, Any] = {
    "dataset": "synthetic",
    "architectures": ["CNN_v1", "CNN_v2"],
    "strategies": ["Freeze10", "LowLR"],
    "epochs": 2,
}


@dataclass(frozen=True)
class ScriptedWorker:
    """A worker, the script its trials follow, and a view of their rows."""

    worker: Worker
    script: Path

    @property
    def database(self) -> Database:
        return self.worker.database

    def set_script(self, **parts: dict[str, Any]) -> None:
        """How trials behave: by their name with `_` for `/`, `every` for all others."""
        names = {"every": "*", "final": "final"}
        self.script.write_text(
            json.dumps({names.get(part, "/".join(part.rsplit("_", 1))): behaviour for part, behaviour in parts.items()})
        )

    def with_settings(self, **changes: Any) -> "ScriptedWorker":
        settings = self.worker.settings.model_copy(update=changes)
        return replace(self, worker=Worker(settings, self.database, self.worker.storage, self.worker.celery, "other:1"))

    def submit(self, **changes: Any) -> str:
        with self.database.write() as session:
            return runs.submit(session, ExperimentSpec.model_validate(SPEC | changes)).id

    def run_all(self) -> int:
        """Runs trials one after another until none is queued, and returns how many it ran."""
        return sum(1 for _ in iter(lambda: work.run_next_trial(self.worker, "cpu"), False))

    def experiment(self, experiment_id: str) -> Experiment:
        with self.database.read() as session:
            return session.get_one(Experiment, experiment_id)

    def trials(self, experiment_id: str) -> dict[str, Trial]:
        chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
        with self.database.read() as session:
            return {trial.name: trial for trial in session.scalars(chosen)}

    def statuses(self, experiment_id: str) -> dict[str, str]:
        return {name: trial.status for name, trial in self.trials(experiment_id).items()}

    def events(self, experiment_id: str) -> list[tuple[str, dict[str, Any]]]:
        chosen = select(Event).where(Event.experiment_id == experiment_id).order_by(Event.number)
        with self.database.read() as session:
            return [(event.kind, event.data) for event in session.scalars(chosen)]

    def models(self) -> list[Model]:
        with self.database.read() as session:
            return list(session.scalars(select(Model).order_by(Model.created_at)))

    def openings(self) -> list[TestOpening]:
        with self.database.read() as session:
            return list(session.scalars(select(TestOpening)))

    def starts(self) -> list[dict[str, Any]]:
        """Every start of a trial's process, in order."""
        noted = self.script.with_suffix(".starts")
        return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []


@pytest.fixture
def settings(tmp_path: Path, database_url: str, broker_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        broker_url=broker_url,
        store_url=str(tmp_path / "store"),
        work_root=tmp_path / "work",
        trial_module="tests.workers.scripted_trial",
        lease_seconds=4,
        _env_file=None,
    )


@pytest.fixture
def scripted(
    tmp_path: Path, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> Iterator[ScriptedWorker]:
    script = tmp_path / "script.json"
    script.write_text("{}")
    monkeypatch.setenv("SCRIPTED_TRIAL", str(script))
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))
    celery = broker(settings)
    yield ScriptedWorker(Worker(settings, database, Storage(settings.store_url), celery, "here:1", Flag()), script)
    celery.close()


@dataclass
class Receiver:
    """A webhook receiver that keeps requests and answers with the configured status."""

    url: str = ""
    answer: int = 204
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.append((dict(self.headers), body))
            self.send_response(receiver.answer)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
        Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()


@pytest.fixture
def sender(scripted: ScriptedWorker, receiver: Receiver) -> ScriptedWorker:
    return scripted.with_settings(webhook_url=receiver.url, webhook_secret=WEBHOOK_SECRET)
