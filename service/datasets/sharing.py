"""Lesions that the splits of a data set share, and the command that makes a split without them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.datasets.lesions import SharedLesions
from models_store.tables import DatasetRow


@dataclass(frozen=True)
class Sharing:
    """A registered data set whose splits share lesions. `remade` names its split without them, if there is one."""

    name: str
    sentence: str
    command: str
    remade: str | None


def sharing_datasets(session: Session) -> list[Sharing]:
    """The registered data sets whose splits share lesions, by name."""
    rows = session.scalars(select(DatasetRow).order_by(DatasetRow.name)).all()
    return [
        Sharing(row.name, sharing_sentence(shared), split_command(row.name), _remade(row, rows))
        for row in rows
        if (shared := shared_lesions(row.shared_lesions)) is not None and shared.lesions
    ]


def shared_lesions(recorded: dict[str, int] | None) -> SharedLesions | None:
    return None if recorded is None else SharedLesions(**recorded)


def sharing_sentence(shared: SharedLesions) -> str:
    """Say how many lesions the splits share, and what follows for the figures."""
    return (
        f"{shared.lesions:,} lesions have images in more than one split: {shared.test_images:,} test images and "
        f"{shared.val_images:,} validation images show a lesion that is also in train, so test figures will be "
        "better than on new lesions."
    )


def split_command(name: str) -> str:
    return f"dermatriage dataset split {name} --seed 0"


def _remade(row: DatasetRow, rows: Sequence[DatasetRow]) -> str | None:
    return next((other.name for other in rows if (other.made_from or {}).get("sha256") == row.sha256), None)
