"""Data sets as the API shows them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import DatasetRead, MadeFrom, SharedLesionsRead
from models_store.datasets.official import OFFICIAL_NAMES
from models_store.datasets.synthetic import SYNTHETIC_SETS
from models_store.tables import DatasetRow
from service.datasets.notices import notice, shared_lesions


def show_datasets(session: Session) -> list[DatasetRead]:
    """Every data set an experiment may name, registered ones last."""
    registered = session.scalars(select(DatasetRow).order_by(DatasetRow.name)).all()
    return [*builtin_datasets(), *map(show_dataset, registered)]


def builtin_datasets() -> list[DatasetRead]:
    of_official = notice(official=True, synthetic=False, shared=None)
    of_synthetic = notice(official=False, synthetic=True, shared=None)
    official = [
        DatasetRead(name=name, source="official", synthetic=False, notice=of_official) for name in OFFICIAL_NAMES
    ]
    synthetic = [
        DatasetRead(name=name, source="synthetic", synthetic=True, image_size=size, notice=of_synthetic)
        for name, (size, _) in SYNTHETIC_SETS.items()
    ]
    return official + synthetic


def show_dataset(row: DatasetRow) -> DatasetRead:
    return DatasetRead(
        name=row.name,
        source="registered",
        synthetic=row.synthetic,
        sha256=row.sha256,
        image_size=row.image_size,
        counts=row.counts,
        shared_lesions=row.shared_lesions and SharedLesionsRead.model_validate(row.shared_lesions),
        notice=notice(official=False, synthetic=row.synthetic, shared=shared_lesions(row.shared_lesions)),
        made_from=row.made_from and MadeFrom.model_validate(row.made_from),
    )
