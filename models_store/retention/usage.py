"""How many bytes each kind of thing takes in the store and in the database."""

from collections.abc import Mapping

from sqlalchemy import text

from models_store.database import Database
from models_store.store.folders import FOLDERS
from models_store.store.storage import Storage

DATABASE_BYTES = {
    "postgresql": "SELECT pg_database_size(current_database())",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


def disk_use(database: Database, storage: Storage) -> Mapping[str, int]:
    """Bytes by kind. A large object store takes a while to list."""
    with database.read() as session:
        rows = int(session.scalar(text(DATABASE_BYTES[session.get_bind().dialect.name])) or 0)
    return {kind: storage.size(folder) for kind, folder in FOLDERS.items()} | {"database": rows}
