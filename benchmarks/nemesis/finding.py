"""The records and leftovers at the end of a run: the last facts of its history."""

import json
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.nemesis.checking import ENDS
from benchmarks.nemesis.history import History
from models_store.database import Database
from models_store.store.folders import FOLDERS
from models_store.store.storage import Storage
from models_store.tables import Event, Experiment, Model, PredictionRow, Promotion
from tests.end_to_end.stack import Stack

LEFT_SECONDS = 30.0


def find(stack: Stack, history: History, database: Database, others: set[str]) -> None:
    """Adds facts from the database, the store, the disk and the processes; `others` are not of this run."""
    for line in _lines(stack, ".openings"):
        seen = {"experiment": line["experiment_id"], "trial": line["trial_id"], "fence": line["fence"]}
        history.add("opening", **seen, bundle=line["bundle_sha256"], threshold=line["threshold"])
    with database.read() as session:
        for row in session.scalars(select(Experiment).where(Experiment.id.not_in(others))):
            events = session.scalars(select(Event).where(Event.experiment_id == row.id).order_by(Event.number)).all()
            history.add(
                "ended",
                experiment=row.id,
                status=row.status,
                error=row.error,
                seconds=None if row.finished_at is None else (row.finished_at - row.created_at).total_seconds(),
                events=[{"number": event.number, "status": _end(event)} for event in events],
                phases=[event.data["phase"] for event in events if event.kind == "phase"],
            )
        for model in session.scalars(select(Model).where(Model.experiment_id.not_in(others))):
            made = {"bundle": model.bundle_sha256, "threshold": model.threshold}
            history.add("model", experiment=model.experiment_id, version=model.version, **made)
        for step in session.scalars(select(Promotion).order_by(Promotion.id)):
            fields = {"id": step.id, "version": step.version, "previous": step.previous, "action": step.action}
            history.add("move", **fields, moved=step.created_at.timestamp())
        history.add("recorded", predictions=list(session.scalars(select(PredictionRow.id))))
        stored = {row.store_key for row in session.scalars(select(Model))}
    for what in _left(stack, stored):
        history.add("left", what=what)


def all_ended(database: Database) -> bool:
    """Whether every experiment is known to have ended; false while the database is unreachable."""
    try:
        with database.read() as session:
            return session.scalar(select(Experiment.id).where(Experiment.status.not_in(ENDS)).limit(1)) is None
    except SQLAlchemyError:
        return False


def starts(stack: Stack) -> int:
    return len(_lines(stack, ".starts"))


def _end(event: Event) -> str | None:
    status: str | None = event.data.get("status") if event.kind == "experiment" else None
    return status


def _left(stack: Stack, stored: set[str]) -> list[str]:
    """What is still there after `LEFT_SECONDS`."""
    storage = Storage(str(stack.folder / "store"))

    def processes() -> list[str]:
        return [f"a trial's process, {pid}" for pid, line in stack.marked().items() if "scripted_trial" in line]

    def folders() -> list[str]:
        roots = [stack.folder / "work", stack.folder / "small" / "work"]
        return [f"a folder of a trial, {path}" for root in roots for path in root.glob("trl_*")]

    def files() -> list[str]:
        bundles = {"/".join(key.split("/")[:2]) for key in storage.keys(FOLDERS["models"])} - stored
        points = storage.keys(FOLDERS["resume_points"])
        return [f"in the store, {key}" for key in (*sorted(bundles), *points)]

    return [*_after_waiting(processes), *_after_waiting(folders), *_after_waiting(files)]


def _after_waiting(find_left: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + LEFT_SECONDS
    while (found := find_left()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _lines(stack: Stack, suffix: str) -> list[dict[str, Any]]:
    noted = stack.script.with_suffix(suffix)
    return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
