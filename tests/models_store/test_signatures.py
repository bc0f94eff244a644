"""Bundles are signed by their worker, and refused with another signature."""

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from models_store.files import sha256_of
from models_store.settings import Settings
from models_store.store import bundles
from models_store.store.bundles import COMPLETED_FILES, FROZEN_FILES, BundleAltered, StoredBundle
from models_store.store.signatures import KeyUnreadable, SignatureRefused, Signer, Trusted, make_keys
from models_store.store.storage import Storage
from tests.final_model import an_about

KEY = "models/1"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return keys_in(tmp_path / "ours")


def keys_in(folder: Path) -> Signer:
    folder.mkdir()
    make_keys(folder / "private.pem", folder / "public.pem")
    return Signer.of(folder / "private.pem")


def bundle_in(folder: Path, signer: Signer | None) -> str:
    folder.mkdir()
    for name in FROZEN_FILES:
        (folder / name).write_bytes(name.encode())
    bundles.freeze(folder, an_about())
    for name in COMPLETED_FILES:
        if not (folder / name).exists():
            (folder / name).write_bytes(name.encode())
    return bundles.complete(folder, signer)


def fetched(tmp_path: Path, trusted: Trusted, manifest_sha256: str) -> Path:
    storage = Storage(str(tmp_path / "store"), trusted)
    return StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched").path("card.md")


def stored(tmp_path: Path, signer: Signer | None) -> str:
    manifest_sha256 = bundle_in(tmp_path / "made", signer)
    bundles.upload(tmp_path / "made", Storage(str(tmp_path / "store")), KEY)
    return manifest_sha256


def test_a_signed_bundle_is_accepted_with_its_public_key(tmp_path: Path, signer: Signer) -> None:
    sha256 = stored(tmp_path, signer)
    fetched(tmp_path, Trusted.of(tmp_path / "ours" / "public.pem"), sha256)


def test_a_bundle_signed_by_another_key_is_refused(tmp_path: Path, signer: Signer) -> None:  # noqa: ARG001
    sha256 = stored(tmp_path, keys_in(tmp_path / "theirs"))
    with pytest.raises(BundleAltered, match="not one of the trusted keys"):
        fetched(tmp_path, Trusted.of(tmp_path / "ours" / "public.pem"), sha256)


def test_keys_of_a_rotation_stand_in_one_file(tmp_path: Path, signer: Signer) -> None:
    older = keys_in(tmp_path / "older")
    (tmp_path / "both.pem").write_bytes(older.public_pem + signer.public_pem)
    trusted = Trusted.of(tmp_path / "both.pem")
    for each in (older, signer):
        trusted.check(b"manifest", each.sign(b"manifest"))


def test_a_manifest_made_anew_is_refused_though_its_sha256_is_on_record(tmp_path: Path, signer: Signer) -> None:
    """Write access to store and database is not enough without the private key."""
    stored(tmp_path, signer)
    manifest = tmp_path / "store" / KEY / "manifest.json"
    (manifest.parent / "card.md").write_text("recall 1.000")
    content = bundles.read_json(manifest)
    content["files"]["card.md"] = sha256_of(manifest.parent / "card.md")
    bundles.write_json(manifest, content)
    with pytest.raises(BundleAltered, match="is not one of this manifest"):
        fetched(tmp_path, Trusted.of(tmp_path / "ours" / "public.pem"), sha256_of(manifest))


def test_a_removed_signature_is_noticed(tmp_path: Path, signer: Signer) -> None:
    sha256 = stored(tmp_path, signer)
    (tmp_path / "store" / KEY / "signature.json").unlink()
    with pytest.raises(FileNotFoundError):
        fetched(tmp_path, Trusted.of(tmp_path / "ours" / "public.pem"), sha256)


def test_an_unsigned_bundle_is_accepted_unless_signatures_are_required(tmp_path: Path, signer: Signer) -> None:
    sha256 = stored(tmp_path, None)
    known = {signer.key_id: signer.key.public_key()}
    fetched(tmp_path, Trusted(known), sha256)
    with pytest.raises(BundleAltered, match="not signed"):
        fetched(tmp_path, Trusted(known, required=True), sha256)


@pytest.mark.parametrize("change", [{"algorithm": "none"}, {"signature": "AAAA"}, {"signature": "!"}, {"key_id": None}])
def test_an_unreadable_signature_is_refused(signer: Signer, change: dict[str, object]) -> None:
    trusted = Trusted({signer.key_id: signer.key.public_key()})
    trusted.check(b"manifest", signer.sign(b"manifest"))
    for document in (signer.sign(b"manifest") | change, [], None):
        with pytest.raises(SignatureRefused):
            trusted.check(b"manifest", document)


def test_keys_are_made_once_and_the_private_one_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        signer = keys_in(tmp_path / "new")
    finally:
        os.umask(before)
    make_keys(tmp_path / "new" / "private.pem", tmp_path / "new" / "public.pem")
    assert Signer.of(tmp_path / "new" / "private.pem").key_id == signer.key_id
    assert stat.S_IMODE((tmp_path / "new" / "private.pem").stat().st_mode) == 0o600
    assert set(Trusted.of(tmp_path / "new" / "public.pem").keys) == {signer.key_id}


def test_error_for_an_unusable_key_file_names_the_remedy(tmp_path: Path, signer: Signer) -> None:
    other = generate_private_key(SECP256R1())
    (tmp_path / "other.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "none.pem").write_bytes(b"")
    (tmp_path / "more.pem").write_bytes(signer.public_pem + b"and more")
    for name in ("other.pem", "none.pem", "more.pem", "missing.pem"):
        for read in (Signer.of, Trusted.of):
            with pytest.raises(KeyUnreadable, match="openssl genpkey"):
                read(tmp_path / name)


def test_settings_define_the_trusted_signatures(tmp_path: Path, signer: Signer) -> None:
    other = keys_in(tmp_path / "other")
    named = Settings(
        _env_file=None, signing_key=tmp_path / "ours" / "private.pem", verify_keys=tmp_path / "other" / "public.pem"
    )
    assert set(Trusted.by(named).keys) == {signer.key_id, other.key_id}
    assert not Trusted.by(Settings(_env_file=None)).keys


def test_every_byte_of_a_bundle_is_verified_in_a_folder_and_in_a_zip(tmp_path: Path, signer: Signer) -> None:
    sha256 = bundle_in(tmp_path / "made", signer)
    trusted = Trusted.of(tmp_path / "ours" / "public.pem")
    assert bundles.verify(tmp_path / "made", trusted) == sha256
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        for path in (tmp_path / "made").iterdir():
            archive.write(path, f"mdl_1/{path.name}")
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert bundles.verify(zipfile.Path(archive, "mdl_1/"), trusted) == sha256


@pytest.mark.parametrize("name", [*COMPLETED_FILES, "signature.json", "manifest.json"])
def test_a_changed_and_a_missing_file_are_refused(tmp_path: Path, signer: Signer, name: str) -> None:
    bundle_in(tmp_path / "made", signer)
    trusted = Trusted.of(tmp_path / "ours" / "public.pem")
    whole = (tmp_path / "made" / name).read_bytes()
    (tmp_path / "made" / name).write_bytes(whole + b" " if name.endswith("md") else whole[:-2])
    with pytest.raises(BundleAltered):
        bundles.verify(tmp_path / "made", trusted)
    (tmp_path / "made" / name).unlink()
    with pytest.raises(BundleAltered):
        bundles.verify(tmp_path / "made", trusted)


def test_a_file_that_no_manifest_lists_is_refused(tmp_path: Path) -> None:
    bundle_in(tmp_path / "made", None)
    (tmp_path / "made" / "run.py").write_text(json.dumps("strange"))
    with pytest.raises(BundleAltered, match=r"run\.py"):
        bundles.verify(tmp_path / "made", Trusted())
