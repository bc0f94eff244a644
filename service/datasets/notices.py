"""Warnings before a data set is chosen: generated images, and lesions that its splits share."""

from collections.abc import Sequence
from dataclasses import dataclass

from dermatriage_client.schemas import DatasetRead
from models_store.datasets.lesions import SharedLesions
from models_store.wording import OFFICIAL_SPLIT

GENERATED = "The images are generated: figures on them say nothing about skin."
OFFICIAL = (
    f"{OFFICIAL_SPLIT}, so test figures will be better than on new lesions. With a lesions file beside the data set, "
    "`dermatriage dataset split` makes a split without shared lesions."
)


@dataclass(frozen=True)
class Notice:
    """What holds for the data sets `names`.

    `command` makes a split of one that shares lesions, and `remade` names its existing split without shared lesions.
    """

    names: tuple[str, ...]
    sentence: str
    command: str | None
    remade: str | None


def notices(datasets: Sequence[DatasetRead]) -> list[Notice]:
    """The notices of all data sets that have one; those with the same notice and no split to offer share one."""
    named: dict[tuple[str, str | None, str | None], list[str]] = {}
    for read in datasets:
        if read.notice is not None:
            shares = read.shared_lesions is not None and read.shared_lesions.lesions > 0
            command = split_command(read.name) if shares else None
            named.setdefault((read.notice, command, _remade(read, datasets)), []).append(read.name)
    return [Notice(tuple(names), *content) for content, names in named.items()]


def notice(*, official: bool, synthetic: bool, shared: SharedLesions | None) -> str | None:
    """All that is known to limit the figures of a data set; None if nothing is."""
    sentences = [GENERATED] * synthetic + [OFFICIAL] * official
    if shared is not None and shared.lesions:
        sentences.append(sharing_sentence(shared))
    return " ".join(sentences) or None


def shared_lesions(recorded: dict[str, int] | None) -> SharedLesions | None:
    return None if recorded is None else SharedLesions(**recorded)


def sharing_sentence(shared: SharedLesions) -> str:
    """How many lesions the splits share, and the consequence for the figures."""
    return (
        f"{shared.lesions:,} lesions have images in more than one split: {shared.test_images:,} test images and "
        f"{shared.val_images:,} validation images show a lesion that is also in train, so test figures will be "
        "better than on new lesions."
    )


def split_command(name: str) -> str:
    """The arguments of `dermatriage`."""
    return f"dataset split {name} --seed 0"


def _remade(read: DatasetRead, datasets: Sequence[DatasetRead]) -> str | None:
    return next((other.name for other in datasets if other.made_from and other.made_from.sha256 == read.sha256), None)
