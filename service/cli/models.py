"""List models, change the champion, delete one, fetch a card or a bundle, and check one on any machine."""

import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from dermatriage_client import DownloadAltered
from dermatriage_client.schemas import Catalog, ModelRead, PromotionRead
from models_store.store import bundles
from models_store.store.bundles import MANIFEST, BundleAltered
from models_store.store.signatures import KeyUnreadable, Trusted
from service.cli.completing import versions
from service.cli.identifiers import HELP, model_version
from service.cli.output import (
    AsJson,
    BadInput,
    Finished,
    Limit,
    Url,
    Yes,
    command_line,
    confirm,
    connected,
    console,
    moment,
    notes,
    show_json,
    show_table,
)

COLUMNS = ("version", "", "recall", "specificity", "winner", "experiment", "seed", "data set", "created")
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
Version = Annotated[str, typer.Argument(help=f"Version of the model. {HELP}", autocompletion=versions)]


def models(
    limit: Limit = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List model versions, newest first."""
    with connected(url) as client:
        newest = list(islice(client.models(page_size=min(limit, 200)), limit))
        first = command_line(client, "submit --preset demo --dataset synthetic --watch")
    if as_json:
        show_json(newest)
    elif newest:
        show_table(COLUMNS, map(_row, newest))
        notes().print("* the champion, which serves predictions; figures are those of the test set")
    else:
        notes().print(f"There are no models. Train one: {first}", soft_wrap=True)


def promote(version: Version, reason: Reason, url: Url = None, as_json: AsJson = False) -> None:
    """Make a model the champion, which serves every prediction."""
    with connected(url) as client:
        version = model_version(client, version)
        # The server refuses the promotion if the champion changes between these two requests.
        _show_promotion(client.promote(version, reason, if_match=client.model(version).etag), as_json)


def rollback(reason: Reason, url: Url = None, as_json: AsJson = False) -> None:
    """Make the champion's predecessor champion again."""
    with connected(url) as client:
        _show_promotion(client.roll_back(reason), as_json)


def delete_model(version: Version, yes: Yes = False, url: Url = None) -> None:
    """Delete a model with its bundle, unless it is the champion."""
    with connected(url) as client:
        version = model_version(client, version)
        confirm(f"Delete {version} with its bundle for good?", yes)
        client.delete_model(version)
    console().print(f"Deleted {version}.")


def card(version: Version, url: Url = None) -> None:
    """Print a model's card: what it is for, its figures and its limits."""
    with connected(url) as client:
        typer.echo(client.card(model_version(client, version)))


def bundle(
    version: Version,
    output: Annotated[Path | None, typer.Option(help="File to write; default VERSION.zip.")] = None,
    url: Url = None,
) -> None:
    """Save all files of a model as a zip, after checking their checksums."""
    with connected(url) as client:
        version = model_version(client, version)
        try:
            target = client.bundle(version, output or Path(f"{version}.zip"))
        except DownloadAltered as altered:
            notes().print(str(altered))
            raise Finished(1) from altered
    console().print(f"Wrote {target}.", soft_wrap=True)


def catalog(url: Url = None, as_json: AsJson = False) -> None:
    """List every architecture, strategy, class weight, preset and data set by name."""
    with connected(url) as client:
        known = client.catalog()
    if as_json:
        show_json(known)
    else:
        show_table(("kind", "name", "hypothesis"), _names(known))


def rate(metrics: Mapping[str, Any], name: str) -> str:
    return "undefined" if metrics.get(name) is None else f"{metrics[name]:.3f}"


def _row(model: ModelRead) -> tuple[str, ...]:
    return (
        model.version,
        "*" if model.champion else "",
        rate(model.metrics, "recall"),
        rate(model.metrics, "specificity"),
        model.winner,
        model.experiment_name,
        "" if model.seed is None else str(model.seed),
        model.dataset,
        moment(model.created_at),
    )


def _show_promotion(step: PromotionRead, as_json: bool) -> None:
    if as_json:
        show_json(step)
    else:
        console().print(f"{step.version} is the champion now (before: {step.previous or 'none'}).", soft_wrap=True)


def _names(known: Catalog) -> Iterator[tuple[str, str, str]]:
    for kind, items in known.model_dump(exclude={"disclaimer"}).items():
        for item in items:
            named = item if isinstance(item, dict) else {"name": item}
            yield kind, named["name"], named.get("hypothesis", "")


Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle as a zip, or its folder.")]
Key = Annotated[
    Path | None, typer.Option(help="PEM file of the trusted public keys; without it, no signature is checked.")
]


def verify(bundle: Bundle, key: Key = None) -> None:
    """Check every byte of a bundle, and with --key its signature; exit code 1 if anything is wrong."""
    try:
        trusted = Trusted() if key is None else Trusted.of(key)
        root = _opened(bundle)
    except (KeyUnreadable, OSError, zipfile.BadZipFile) as error:
        raise BadInput(str(error)) from error
    try:
        sha256, signer = bundles.verify(root, trusted), bundles.signer_of(root)
    except BundleAltered as altered:
        notes().print(f"Refused: {altered}.", markup=False, soft_wrap=True)
        raise Finished(1) from altered
    console().print("Every file is the one that the manifest lists.")
    console().print(f"manifest_sha256 {sha256}", soft_wrap=True)
    if signer is None:
        console().print("It is not signed.")
    elif key is None:
        console().print(f"Its signature names the key {signer}; --key checks that.")
    else:
        console().print(f"Signed by the key {signer}.")


def _opened(bundle: Path) -> Path | zipfile.Path:
    """The folder of the manifest. Raises `OSError` or `BadZipFile`."""
    if bundle.is_dir():
        return bundle
    archive = zipfile.ZipFile(bundle)
    manifests = [name for name in archive.namelist() if name.rpartition("/")[2] == MANIFEST]
    if len(manifests) != 1:
        raise BadInput(f"{bundle} holds {len(manifests)} files called {MANIFEST}; a bundle has one")
    return zipfile.Path(archive, manifests[0].removesuffix(MANIFEST))
