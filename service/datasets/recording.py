"""The record of a registered data set. A name keeps the content it was first given."""

from models_store.database import Database, now
from models_store.datasets.errors import DatasetNameRefused
from models_store.datasets.registration import RegisteredDataset
from models_store.tables import DatasetRow


def is_recorded(database: Database, registered: RegisteredDataset) -> bool:
    """Whether the name has this content already."""
    with database.read() as session:
        known = session.get(DatasetRow, registered.name)
        return known is not None and known.sha256 == registered.sha256


def record(database: Database, registered: RegisteredDataset) -> DatasetRow:
    """Raises `DatasetNameRefused` if the name has another content."""
    with database.write() as session:
        known = session.get(DatasetRow, registered.name)
        if known is not None and known.sha256 != registered.sha256:
            raise DatasetNameRefused(
                f"'{registered.name}' already names a data set with sha256 {known.sha256}; this file has "
                f"{registered.sha256}",
                "Register it under a new name, so that old results keep their data",
            )
        row = DatasetRow(**vars(registered), created_at=known.created_at if known else now(session))
        if known is not None and row.made_from is None:
            row.made_from = known.made_from
        return session.merge(row)
