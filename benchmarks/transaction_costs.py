"""The costs of a worker's transactions on PostgreSQL: seconds by one client, how many at once, bytes an epoch."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.simulation import Costs
from models_store import runs
from models_store.contract.outcomes import Collapsed, Epoch
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.runs import Claim

Answer = TypeVar("Answer")
LEASE = timedelta(minutes=1)
CLIENTS, EXPERIMENTS, EPOCHS = 8, 40, 30
METRICS = {f"val_{name}": 0.751234 for name in ("recall", "specificity", "precision", "auc", "f1", "f2")}
SPEC = ExperimentSpec(dataset="synthetic", architectures=("CNN_v1", "CNN_v2"))


@dataclass(frozen=True)
class Measured:
    """Costs, and the disk space of an epoch's row and event with their indexes."""

    costs: Costs
    epochs_a_second: float
    bytes_an_epoch: float


def measure(url: str) -> Measured:
    """Fills an empty database with a few small experiments and times each step, committed."""
    database = Database(url)
    opened = [_timed(database, _submit_and_open) for _ in range(EXPERIMENTS)]
    claimed = [_timed(database, _claim) for _ in range(EXPERIMENTS)]
    claims = [claim for claim, _ in claimed]
    before = _bytes(database)
    epochs = [_timed(database, _epoch(claim, 1))[1] for claim in claims]
    rate = _epochs_a_second(database, claims[:CLIENTS])
    written = len(claims) + CLIENTS * (EPOCHS - 1)
    checks = [_timed(database, _status_check(claim))[1] for claim in claims]
    size = (_bytes(database) - before) / written
    records = [_timed(database, _finish(claim))[1] for claim in claims]
    database.close()
    costs = Costs(
        claim=_typical([seconds for _, seconds in claimed]),
        epoch=_typical(epochs),
        status_check=_typical(checks),
        record=_typical(records),
        open=_typical([seconds for _, seconds in opened]),
        at_once=max(1.0, rate * _typical(epochs)),
    )
    return Measured(costs, rate, size)


def _epochs_a_second(database: Database, claims: list[Claim]) -> float:
    """What as many clients write together, each the epochs of its own trial."""

    def write(claim: Claim) -> None:
        for number in range(2, EPOCHS + 1):
            _timed(database, _epoch(claim, number))

    began = time.perf_counter()
    with ThreadPoolExecutor(len(claims)) as pool:
        list(pool.map(write, claims))
    return len(claims) * (EPOCHS - 1) / (time.perf_counter() - began)


def _submit_and_open(session: Session) -> None:
    runs.submit(session, SPEC)


def _claim(session: Session) -> Claim:
    claim = runs.claim_next(session, ["cpu"], "bench", LEASE)
    assert claim is not None
    return claim


def _epoch(claim: Claim, number: int) -> Callable[[Session], object]:
    report = Epoch(number=number, metrics=METRICS, seconds=1.0, eligible=True, best=False)
    return lambda session: runs.heartbeat(session, claim, LEASE, [report])


def _status_check(claim: Claim) -> Callable[[Session], object]:
    return lambda session: runs.claim_state(session, claim)


def _finish(claim: Claim) -> Callable[[Session], object]:
    """The end of a trial: its record, and the check whether its phase has ended."""

    def finish(session: Session) -> None:
        runs.finish_trial(session, claim, Collapsed(reason="bench", environment={}))
        runs.advance(session, claim.experiment_id)

    return finish


def _timed(database: Database, step: Callable[[Session], Answer]) -> tuple[Answer, float]:
    began = time.perf_counter()
    with database.write() as session:
        answer = step(session)
    return answer, time.perf_counter() - began


def _bytes(database: Database) -> int:
    with database.read() as session:
        sizes = text("SELECT pg_total_relation_size('epochs') + pg_total_relation_size('events')")
        size: int = session.execute(sizes).scalar_one()
        return size


def _typical(seconds: list[float]) -> float:
    return statistics.median(seconds)
