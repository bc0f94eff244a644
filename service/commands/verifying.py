"""Check a bundle on any machine: every checksum, and who signed it. Needs no server, database or network."""

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from models_store import bundles
from models_store.bundles import MANIFEST, BundleAltered
from models_store.signatures import KeyUnreadable, Trusted
from service.commands.output import BadInput, Finished, console, notes

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle as a zip, or its folder.")]
Key = Annotated[
    Path | None, typer.Option(help="PEM file of the public keys that are believed; without, no signature is checked.")
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
        console().print(f"It says that the key {signer} signed it; --key checks that.")
    else:
        console().print(f"Signed by the key {signer}.")


def _opened(bundle: Path) -> Path | zipfile.Path:
    """The folder in which the manifest lies. Raises `OSError` or `BadZipFile`."""
    if bundle.is_dir():
        return bundle
    archive = zipfile.ZipFile(bundle)
    manifests = [name for name in archive.namelist() if name.rpartition("/")[2] == MANIFEST]
    if len(manifests) != 1:
        raise BadInput(f"{bundle} holds {len(manifests)} files called {MANIFEST}; a bundle has one")
    return zipfile.Path(archive, manifests[0].removesuffix(MANIFEST))
