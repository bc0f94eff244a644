"""SQLite files that several processes open."""

import sqlite3
from pathlib import Path
from threading import Timer

from sqlalchemy import text

from models_store.database import Database


def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    # Given a file that is not in WAL mode yet, because another process creates it
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE first (id)")
    commit = Timer(0.2, other.execute, ["COMMIT"])
    commit.start()

    # When it is opened meanwhile
    database = Database(f"sqlite:///{tmp_path}/new.db")
    with database.read() as session:
        mode = session.scalar(text("PRAGMA journal_mode"))
        tables = session.scalars(text("SELECT name FROM sqlite_master")).all()

    # Then it is in WAL mode once the other has committed
    assert (mode, tables) == ("wal", ["first"])
    commit.join()
    other.close()
    database.close()
