"""Describe, register and split data sets: on a server, or on this machine's database and store."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dermatriage_client import Client
from dermatriage_client.schemas import DatasetRead
from models_store.datasets.describe import DatasetDescription, SplitCounts, describe, split_counts
from models_store.datasets.layout import verify_layout
from models_store.datasets.lesions import SharedLesions, lesions_path
from models_store.datasets.patients import patients_path
from models_store.datasets.registration import register
from models_store.datasets.sources import is_builtin, resolve
from models_store.datasets.splitting import MAX_SEED
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from service.cli.destinations import (
    Create,
    Direct,
    Var,
    database_name,
    database_of,
    server,
    settings_of,
    store_name,
)
from service.cli.output import AsJson, Url, command_line, console, notes, show_json, show_table
from service.datasets.notices import sharing_sentence, split_command
from service.datasets.reading import show_dataset
from service.datasets.recording import record
from service.datasets.splitting import make_split

app = typer.Typer(
    name="dataset", help="Data sets, on a server or on this machine.", no_args_is_help=True, add_completion=False
)


@app.command("describe")
def describe_dataset(
    dataset: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Name of a data set, or an .npz file.")],
    url: Url = None,
    var: Var = None,
    direct: Direct = False,
    as_json: AsJson = False,
) -> None:
    """Count classes, duplicates and lesions shared between splits; of a data set on a server, show the record."""
    settings = settings_of(var)
    if not (_is_file(dataset) or is_builtin(dataset)):
        client = server(url, direct, var)
        if client is not None:
            with client:
                return _show_record(client.dataset(dataset), _split_command(dataset, client, var), as_json)
    description = describe(_file(dataset, settings))
    if as_json:
        return show_json(description.to_json())
    _show(description)
    command = _split_command("NAME" if _is_file(dataset) else dataset, None, var, direct=direct)
    return _show_sharing(description.shared_lesions, command, is_registered=not _is_file(dataset))


@app.command("register")
def register_dataset(
    path: Annotated[Path, typer.Argument(help="An .npz file in MedMNIST layout; docs/data-format.md describes it.")],
    name: Annotated[str, typer.Option(help="Name that experiments use.")],
    url: Url = None,
    var: Var = None,
    direct: Direct = False,
    create: Create = False,
    as_json: AsJson = False,
) -> None:
    """Check a file and register it, with the lesions and patients CSV beside it, if there are any."""
    settings = settings_of(var)
    client = server(url, direct, var, create=create)
    if client is None:
        registered = register_file(path, name, settings, create=create)
    else:
        with client:
            registered = _send(client, path, name)
    if as_json:
        return show_json({**registered.model_dump(), "place": _place(client, settings)})
    console().print(f"Registered {name} (sha256 {registered.sha256}) {_place(client, settings)}.", soft_wrap=True)
    return _show_sharing(_shared(registered), _split_command(name, client, var, direct=direct))


@app.command("split")
def split_dataset(
    name: Annotated[str, typer.Argument(help="Name of a data set with lesion ids.")],
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Each seed makes another split.")] = 0,
    url: Url = None,
    var: Var = None,
    direct: Direct = False,
    as_json: AsJson = False,
) -> None:
    """Split a data set again by whole lesions, so that no lesion of the test set was trained on."""
    settings = settings_of(var)
    client = server(url, direct, var)
    if client is None:
        made = _split_here(name, seed, settings)
    else:
        with client:
            made = client.split_dataset(name, seed=seed)
    if as_json:
        return show_json(made)
    sizes = ", ".join(f"{split} {sum(classes.values()):,}" for split, classes in (made.counts or {}).items())
    place = _place(client, settings)
    console().print(f"{made.name} (sha256 {made.sha256}) is registered {place}: {sizes} images.", soft_wrap=True)
    return _show_sharing(_shared(made), _split_command(made.name, client, var, direct=direct))


def register_file(path: Path, name: str, settings: Settings, *, create: bool | None = None) -> DatasetRead:
    """Stores a file and records it; the content of a name never changes.

    Raises `DatasetError`, and `BadInput` where there is no database.
    """
    with database_of(settings, create=create) as database:
        return show_dataset(record(database, register(path, name, storage=Storage(settings.store_url))))


def _send(client: Client, path: Path, name: str) -> DatasetRead:
    verify_layout(path)  # before gigabytes are sent
    notes().print(f"Sending {path.name} ({path.stat().st_size / 1e6:,.0f} MB) to {client.url} ...", markup=False)
    tables = {"lesions": lesions_path(path), "patients": patients_path(path)}
    return client.register_dataset(name, path, **{part: file for part, file in tables.items() if file.exists()})


def _split_here(name: str, seed: int, settings: Settings) -> DatasetRead:
    with database_of(settings) as database:
        storage = Storage(settings.store_url)
        return show_dataset(make_split(name, seed, database=database, storage=storage, settings=settings)[0])


def _place(client: Client | None, settings: Settings) -> str:
    if client is not None:
        return f"on {client.url}"
    return f"in the database {database_name(settings)} and the store {store_name(settings)}"


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
    with database_of(settings) as database, database.read() as session:
        return session.get(DatasetRow, name)


def _shared(read: DatasetRead) -> SharedLesions | None:
    return None if read.shared_lesions is None else SharedLesions(**read.shared_lesions.model_dump())


def _show_record(read: DatasetRead, command: str, as_json: bool) -> None:
    if as_json:
        return show_json(read)
    out = console()
    out.print(f"{read.name}  {read.image_size} x {read.image_size} pixels\nsha256 {read.sha256}", soft_wrap=True)
    _show_splits({split: split_counts(classes) for split, classes in (read.counts or {}).items()}, read.synthetic)
    return _show_sharing(_shared(read), command)


def _show(description: DatasetDescription) -> None:
    out = console()
    out.print(f"{description.file}  {description.image_size} x {description.image_size} pixels", soft_wrap=True)
    out.print(f"sha256 {description.sha256}", soft_wrap=True)
    out.print(f"licence: {description.licence}", soft_wrap=True)
    _show_splits(description.splits, description.synthetic)
    for column, groups in (description.patients or {}).items():
        show_table(
            (column, *description.splits),
            ((group, *map(str, images.values())) for group, images in groups.items() if any(images.values())),
        )
    for pair, number in description.duplicates.items():
        out.print(f"identical images in {pair.replace('-', ' and ')}: {number}")


def _show_splits(splits: Mapping[str, SplitCounts], synthetic: bool) -> None:
    if synthetic:
        console().print("[bold]synthetic: generated images, no patient's data[/bold]")
    classes = list(next(iter(splits.values())).classes)
    show_table(
        ("split", "images", "benign", "malignant", *classes),
        (
            (name, str(split.images), str(split.benign), str(split.malignant), *map(str, split.classes.values()))
            for name, split in splits.items()
        ),
    )


def _split_command(name: str, client: Client | None, var: Path | None, *, direct: bool = False) -> str:
    """The command that splits the data set in the same place: on this server, or on this machine."""
    command = split_command(name)
    if client is not None:
        return command_line(client, command)
    place = f" --var {shlex.quote(str(var))}" if var is not None else " --direct" if direct else ""
    return f"dermatriage {command}{place}"


def _show_sharing(shared: SharedLesions | None, command: str, *, is_registered: bool = True) -> None:
    """Prints whether the splits share lesions, and how to make a split that does not."""
    out = console()
    if shared is None:
        out.print("lesions shared between splits: unknown, there is no lesions CSV beside the file")
    elif shared.lesions == 0:
        out.print("lesions shared between splits: none")
    else:
        out.print(f"[bold]{sharing_sentence(shared)}[/bold]", soft_wrap=True)
        first = "Make" if is_registered else "Register the file, then make"
        out.print(f"{first} a split without shared lesions: {command}", soft_wrap=True)
