"""Do the queries stay fast? Ten thousand experiments and half a million epochs on both databases.

    python -m benchmarks.listing [--experiments 10000] [--repeats 50]

Fills a database with experiments of five trials of ten epochs each, most succeeded with a model, some running, a
thousand queued, with all their events, then times the most frequent queries of the API, the workers and the sweeper.
Takes about five minutes on two cores. Expected: every median below 250 ms, and below 50 ms for workers and the
sweeper; otherwise the exit status is 1. Writes docs/queries.md.
"""

import argparse
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, text
from sqlalchemy.orm import Session

from benchmarks.databases import fresh_database
from benchmarks.timings import Timing, by_database
from models_store import runs
from models_store.contract.outcomes import Epoch
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.store.folders import model_bundle
from models_store.tables import EpochRow, Event, Experiment, Model, Trial
from service.experiments.events import Feed
from service.experiments.reading import show_experiments, show_trials
from service.experiments.waiting import waiting_places
from service.web.cursor_pages import PageRequest, page
from tests.finished_experiment import FinalRecord, a_final_record
from workers.sweeper import queued_trials, ready_to_advance

REPORT = Path("docs/queries.md")
MAX_MILLISECONDS = {"API": 250.0, "worker": 50.0, "sweeper": 50.0}
TRIALS, EPOCHS, ROWS_AT_ONCE, SLOTS = 5, 10, 500, 4
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
METRICS = {f"val_{name}": 0.75 for name in ("recall", "specificity", "precision", "auc", "f1", "f2")} | {"loss": 0.5}
SPEC = ExperimentSpec(dataset="synthetic").model_dump(mode="json")


class Undo(Exception):
    """Rolls a timed write back."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    timings: dict[str, list[Timing]] = {}
    for kind in ("sqlite", "postgresql"):
        with fresh_database(kind) as url:
            database = Database(url)
            fill(database, arguments.experiments)
            timings[kind] = [
                measure(name, query, arguments.repeats) for name, query in queries(database, arguments.experiments)
            ]
            database.close()
    REPORT.write_text(report(timings, arguments.experiments))
    print(REPORT.read_text())
    return 0 if all(_is_quick(timing) for of in timings.values() for timing in of) else 1


def _is_quick(timing: Timing) -> bool:
    caller, _, _ = timing.what.partition(":")
    return timing.median < MAX_MILLISECONDS[caller]


def fill(database: Database, experiments: int) -> None:
    final = a_final_record()
    with database.engine.execution_options(dermatriage_write=True).begin() as connection:
        for table, rows in (
            (Experiment, (_experiment(number, experiments, final) for number in range(experiments))),
            (Trial, (_trial(number, place, experiments) for number in range(experiments) for place in range(TRIALS))),
            (Model, (_model(n, final) for n in range(experiments) if _status(n, experiments) == "succeeded")),
            (EpochRow, (_epoch(n, place, e) for n in range(experiments) for place in range(TRIALS) for e in _epochs())),
            (Event, (_event(number, event) for number in range(experiments) for event in range(1, _events() + 1))),
        ):
            _insert(connection, table, rows)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def queries(database: Database, experiments: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """The most frequent queries, each named after its caller."""
    rng = random.Random(0)

    def read(query: Callable[[Session], Any]) -> Callable[[], object]:
        def in_session() -> object:
            with database.read() as session:
                return query(session)

        return in_session

    def some() -> str:
        return _id(rng.randrange(experiments))

    def listed(session: Session, cursor: tuple[datetime, str] | None = None, status: str | None = None) -> Any:
        query = select(Experiment).where(Experiment.deleted_at.is_(None))
        if status is not None:
            query = query.where(Experiment.status == status)
        requested = PageRequest(limit=50, before=cursor)
        return page(session, query, requested, Experiment.created_at, Experiment.id, lambda rows: _shown(session, rows))

    with database.read() as session:
        middle = session.get_one(Experiment, _id(experiments // 2))
        cursor = (middle.created_at, middle.id)
    yield "API: first page of 50 experiments, all queued", read(listed)
    yield "API: page from the middle", read(lambda session: listed(session, cursor))
    yield "API: first page of the succeeded", read(lambda session: listed(session, status="succeeded"))
    yield "API: first page of the cancelled (few)", read(lambda session: listed(session, status="cancelled"))
    yield "API: one experiment", read(lambda session: _shown(session, [session.get_one(Experiment, some())]))
    yield "API: an experiment's trials with every epoch", read(lambda session: _trials(session, some()))
    yield "API: events after the 40th", read(lambda session: _events_after(session, some(), 40))
    watched = [_id(number) for number in range(0, experiments, experiments // 100)]
    yield "API: news for the listeners of 100 experiments", lambda: Feed(database)._count(watched)
    yield "worker: where a trial stands", read(lambda s: runs.claim_state(s, runs.Claim(f"{some()}-0", "", 0, 0, "")))
    yield "worker: claim of the next trial", lambda: _undone(database, _claim)
    yield "worker: heartbeat with an epoch", lambda: _undone(database, _heartbeat)
    yield "sweeper: expired leases", read(runs.with_expired_leases)
    yield "sweeper: experiments ready to advance", read(ready_to_advance)
    yield "sweeper: queued trials by queue", read(queued_trials)


def measure(name: str, query: Callable[[], object], repeats: int) -> Timing:
    query()
    milliseconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        query()
        milliseconds.append((time.perf_counter() - began) * 1000)
    return Timing.of(name, milliseconds)


def report(timings: dict[str, list[Timing]], experiments: int) -> str:
    trials = experiments * TRIALS
    return f"""# Query times

Written by `python -m benchmarks.listing` on {datetime.now(UTC):%Y-%m-%d}; every figure is measured, in milliseconds.

{experiments:,} experiments, {trials:,} trials, {trials * EPOCHS:,} epochs and {experiments * _events():,} events on
{os.cpu_count()} cores ({platform.machine()}; load {os.getloadavg()[0]:.1f} at the end, which includes other work on the
machine); one in ten experiments is queued, one in a hundred runs, nearly all others have a model. Lists hold the test
figures of each model and the place of each queued experiment, for {SLOTS} slots; asking the broker for the slots is not
timed. What writes is rolled back after it was timed, so a commit's own time is not in it.

{by_database(timings, digits=1)}
"""


def _shown(session: Session, rows: Sequence[Experiment]) -> object:
    """As the API shows them, for workers with `SLOTS` slots."""
    waits = any(row.status == "queued" for row in rows)
    return show_experiments(session, rows, waiting_places(session, "cpu", SLOTS) if waits else {})


def _trials(session: Session, experiment_id: str) -> object:
    chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    return show_trials(session, session.scalars(chosen).all(), epochs=True)


def _events_after(session: Session, experiment_id: str, seen: int) -> Sequence[Event]:
    chosen = select(Event).where(Event.experiment_id == experiment_id, Event.number > seen)
    return session.scalars(chosen.order_by(Event.number).limit(500)).all()


def _claim(session: Session) -> None:
    assert runs.claim_next(session, ["cpu"], "bench", timedelta(minutes=1)) is not None


def _heartbeat(session: Session) -> None:
    claim = runs.Claim(f"{_id(1)}-0", _id(1), 1, 1, "train")
    epoch = Epoch(number=EPOCHS + 1, metrics=METRICS, seconds=1.0, eligible=True, best=False)
    assert runs.heartbeat(session, claim, timedelta(minutes=1), [epoch]) == "ours"


def _undone(database: Database, write: Callable[[Session], object]) -> None:
    try:
        with database.write() as session:
            write(session)
            session.flush()
            raise Undo
    except Undo:
        pass


def _insert(connection: Connection, table: Any, rows: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_AT_ONCE:
            connection.execute(insert(table), batch)
            batch = []
    if batch:
        connection.execute(insert(table), batch)


def _id(number: int) -> str:
    return f"exp_{number:032x}"


def _status(number: int, experiments: int) -> str:
    """One in ten queued (the latest), one in a hundred running, few cancelled or failed."""
    if number >= experiments * 0.9:
        return "queued"
    return {1: "running", 2: "cancelled", 3: "failed"}.get(number % 100, "succeeded")


def _experiment(number: int, experiments: int, final: FinalRecord) -> dict[str, Any]:
    status = _status(number, experiments)
    result = {
        "winner": "CNN_v1/W3",
        "model_version": f"mdl_{number}",
        "threshold": final.calibration["threshold"],
        "guarantee": final.calibration["guarantee"],
        "warnings": [],
    }
    return {
        "id": _id(number),
        "name": f"experiment {number}",
        "status": status,
        "phase": 0 if status == "queued" else 1,
        "progress": 0.0 if status == "queued" else 0.5,
        "priority": number % 10,
        "spec": SPEC,
        "result": result if status == "succeeded" else None,
        "events": _events(),
        "created_at": BEGAN + timedelta(seconds=number),
        "started_at": BEGAN + timedelta(seconds=number),
    }


def _trial(number: int, place: int, experiments: int) -> dict[str, Any]:
    return {
        "id": f"{_id(number)}-{place}",
        "experiment_id": _id(number),
        "phase": 1,
        "position": place,
        "name": f"trial {place}",
        "kind": "train",
        "queue": "cpu",
        "spec": {"architecture": "CNN_v1"},
        "status": _status(number, experiments),
        "fence": 1,
        "attempts": 1,
        "epochs_done": EPOCHS,
        "metrics": METRICS,
        "lease_expires_at": datetime(2100, 1, 1, tzinfo=UTC),
        "created_at": BEGAN + timedelta(seconds=number),
    }


def _model(number: int, final: FinalRecord) -> dict[str, Any]:
    names = ("architecture", "winner", "dataset", "dataset_sha256", "synthetic", "weights")
    return {
        **{name: final.about[name] for name in names},
        "version": f"mdl_{number}",
        "experiment_id": _id(number),
        "trial_id": f"{_id(number)}-0",
        "store_key": model_bundle(f"mdl_{number}"),
        "bundle_sha256": "0" * 64,
        "manifest_sha256": "0" * 64,
        "threshold": final.calibration["threshold"],
        "calibration": final.calibration,
        "metrics": final.evaluation,
        "created_at": BEGAN + timedelta(seconds=number),
    }


def _epoch(number: int, place: int, epoch: int) -> dict[str, Any]:
    flags = {"seconds": 1.0, "eligible": True, "best": False, "created_at": BEGAN}
    return {"trial_id": f"{_id(number)}-{place}", "number": epoch, "metrics": METRICS, **flags}


def _event(number: int, event: int) -> dict[str, Any]:
    data = {"trial_id": f"{_id(number)}-0", "number": event, "metrics": METRICS}
    return {"experiment_id": _id(number), "number": event, "kind": "epoch", "data": data, "created_at": BEGAN}


def _epochs() -> range:
    return range(1, EPOCHS + 1)


def _events() -> int:
    return TRIALS * (EPOCHS + 2) + 3


if __name__ == "__main__":
    sys.exit(main())
