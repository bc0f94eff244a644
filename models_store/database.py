"""The engine, its transactions and its clock, the same on SQLite and PostgreSQL."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, create_engine, event, select, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.orm import Session

SQLITE_BUSY_MS = 30_000
SQLITE_RETRY_SECONDS = 0.01
WAKE_UPS = "wake_ups"


class Publish(Protocol):
    """Sends wake-ups: how many trials wait, by queue. `close` releases its connection."""

    def __call__(self, wake_ups: Mapping[str, int]) -> None: ...

    def close(self) -> None: ...


class Database:
    """One engine. `write()` is one transaction that commits at its end; `read()` never commits.

    After a commit, `publish` gets the number of trials by queue that the transaction passed to `wake_after_commit`.
    """

    def __init__(self, url: str, publish: Publish | None = None) -> None:
        self.url = url
        self._publish = publish
        self.engine = _engine(url)
        self._writer = self.engine.execution_options(dermatriage_write=True)

    @contextmanager
    def write(self) -> Iterator[Session]:
        with Session(self._writer, expire_on_commit=False) as session:
            with session.begin():
                yield session
            if self._publish is not None and WAKE_UPS in session.info:
                self._publish(session.info[WAKE_UPS])

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine) as session:
            yield session

    def ping(self) -> None:
        """Raises `sqlalchemy.exc.SQLAlchemyError` if the database does not answer."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        if self._publish is not None:
            self._publish.close()
        self.engine.dispose()


def wake_after_commit(session: Session, queue: str) -> None:
    """Sends a wake-up to `queue` once this transaction is committed."""
    session.info.setdefault(WAKE_UPS, Counter())[queue] += 1


def release(session: Session) -> None:
    """Returns the connection to the pool before the caller reads the store; the rows it has read stay usable."""
    session.close()


def now(session: Session) -> datetime:
    """The database server's clock, so that leases taken on many machines are measured by one."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime = session.execute(select(text("clock_timestamp()"))).scalar_one()
        return moment.astimezone(UTC)
    return datetime.now(UTC)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True, pool_size=5, max_overflow=20)
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"DATABASE_URL names {parsed.get_backend_name()!r}; use sqlite:///… or postgresql://…")
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": SQLITE_BUSY_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # _begin_sqlite begins transactions, not the driver
    _switch_to_wal(connection)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", f"busy_timeout={SQLITE_BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}")


def _switch_to_wal(connection: Any) -> None:
    """Switches the file to WAL mode, which it keeps.

    Where another process writes to the file at the moment of the switch, as when several start on a new file, SQLite
    fails at once with "database is locked" instead of waiting for `busy_timeout`.
    """
    deadline = time.monotonic() + SQLITE_BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the higher bits say why
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(SQLITE_RETRY_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once with "database is locked" when another process
    # wrote in between; taking the write lock at the start waits for busy_timeout instead.
    writes = connection.get_execution_options().get("dermatriage_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
