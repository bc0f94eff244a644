"""Describe a data set, or take one into the store under a name. Works on this machine's database and store."""

from pathlib import Path
from typing import Annotated

import typer

from migrations import migrated
from models_store.datasets.describe import DatasetDescription, describe
from models_store.datasets.errors import DatasetError
from models_store.datasets.lesions import SharedLesions
from models_store.datasets.registration import RegisteredDataset, register
from models_store.datasets.sources import is_builtin, resolve
from models_store.datasets.splitting import LARGEST_SEED
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from service.cli.output import AsJson, console, show_json, show_table
from service.datasets.notices import shared_lesions, sharing_sentence, split_command
from service.datasets.reading import show_dataset
from service.datasets.recording import record
from service.datasets.splitting import make_split

app = typer.Typer(name="dataset", help="Data sets of this machine's store.", no_args_is_help=True, add_completion=False)


@app.command("describe")
def describe_dataset(
    dataset: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Name of a data set, or an .npz file.")],
    as_json: AsJson = False,
) -> None:
    """Count classes, duplicates and lesions shared between the splits."""
    description = describe(_file(dataset, Settings()))
    if as_json:
        show_json(description.to_json())
    else:
        _show(description)
        _show_sharing(description.shared_lesions, "NAME" if _is_file(dataset) else dataset)


@app.command("register")
def register_dataset(
    path: Annotated[Path, typer.Argument(help="An .npz file in MedMNIST layout.")],
    name: Annotated[str, typer.Option(help="Name that experiments use.")],
    as_json: AsJson = False,
) -> None:
    """Check a file and take it into the store, with the lesions and patients CSV beside it, if there are any."""
    registered = register_file(path, name, Settings())
    if as_json:
        shown = ("name", "sha256", "synthetic", "shared_lesions", "made_from")
        show_json({field: getattr(registered, field) for field in shown})
    else:
        console().print(f"Registered {registered.name} (sha256 {registered.sha256}).", soft_wrap=True)
        _show_sharing(shared_lesions(registered.shared_lesions), registered.name)


@app.command("split")
def split_dataset(
    name: Annotated[str, typer.Argument(help="Name of a data set with lesion ids.")],
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Each seed makes another split.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Split a data set again by whole lesions, so that no lesion of the test set was trained on."""
    settings = Settings()
    with migrated(settings.database_url) as database:
        made, is_new = make_split(name, seed, database=database, storage=Storage(settings.store_url), settings=settings)
    if as_json:
        show_json(show_dataset(made).model_dump())
        return
    sizes = ", ".join(f"{split} {sum(classes.values()):,}" for split, classes in made.counts.items())
    found = "Made" if is_new else "Found"
    console().print(f"{found} {made.name} (sha256 {made.sha256}): {sizes} images.", soft_wrap=True)
    _show_sharing(shared_lesions(made.shared_lesions), made.name)


def register_file(path: Path, name: str, settings: Settings) -> RegisteredDataset:
    """Takes a file into the store and records it; a name keeps the content it was first given.

    Raises `DatasetError`.
    """
    with migrated(settings.database_url) as database:
        registered = register(path, name, storage=Storage(settings.store_url))
        record(database, registered)
    return registered


def _file(dataset: str, settings: Settings) -> Path:
    if _is_file(dataset):
        return Path(dataset)
    registered, storage = None, None
    if not is_builtin(dataset):
        registered, storage = _registered(dataset, settings), Storage(settings.store_url)
    return resolve(
        dataset,
        data_root=settings.data_root,
        cache_root=settings.cache_root,
        registered=registered,
        storage=storage,
    )


def _is_file(dataset: str) -> bool:
    return dataset.endswith(".npz") or Path(dataset).exists()


def _registered(name: str, settings: Settings) -> DatasetRow | None:
    with migrated(settings.database_url) as database, database.read() as session:
        return session.get(DatasetRow, name)


def _show(description: DatasetDescription) -> None:
    out = console()
    out.print(f"{description.file}  {description.image_size} x {description.image_size} pixels", soft_wrap=True)
    out.print(f"sha256 {description.sha256}", soft_wrap=True)
    out.print(f"licence: {description.licence}", soft_wrap=True)
    if description.synthetic:
        out.print("[bold]synthetic: generated images, no patient's data[/bold]")
    classes = list(next(iter(description.splits.values())).classes)
    show_table(
        ("split", "images", "benign", "malignant", *classes),
        (
            (name, str(split.images), str(split.benign), str(split.malignant), *map(str, split.classes.values()))
            for name, split in description.splits.items()
        ),
    )
    for column, groups in (description.patients or {}).items():
        show_table(
            (column, *description.splits),
            ((group, *map(str, images.values())) for group, images in groups.items() if any(images.values())),
        )
    for pair, number in description.duplicates.items():
        out.print(f"identical images in {pair.replace('-', ' and ')}: {number}")


def _show_sharing(shared: SharedLesions | None, name: str) -> None:
    """Say whether the splits share lesions, and how to make a split that does not."""
    out = console()
    if shared is None:
        out.print("lesions shared between splits: unknown, no lesions CSV lies beside the file")
    elif shared.lesions == 0:
        out.print("lesions shared between splits: none")
    else:
        out.print(f"[bold]{sharing_sentence(shared)}[/bold]", soft_wrap=True)
        first = "Register the file, then make" if name == "NAME" else "Make"
        out.print(f"{first} a split without shared lesions: {split_command(name)}", soft_wrap=True)


__all__ = ["DatasetError", "app", "register_file"]
