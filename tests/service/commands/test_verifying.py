"""`dermatriage verify` on another machine: a bundle, a public key and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store.store.signatures import Signer, make_keys

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    make_keys(tmp_path / "private.pem", tmp_path / "public.pem")
    return Signer.of(tmp_path / "private.pem")


@pytest.fixture
def bundle(client: TestClient, make_model: MakeModel, signer: Signer, tmp_path: Path) -> Path:
    version = make_model(signer=signer)
    path = tmp_path / "bundle.zip"
    path.write_bytes(client.get(f"/v1/models/{version}/bundle").content)
    return path


def test_a_downloaded_bundle_is_verified_with_the_public_key(
    dermatriage: Dermatriage, bundle: Path, signer: Signer
) -> None:
    ended = dermatriage("verify", str(bundle), "--key", "public.pem")
    assert ended.exit_code == 0
    assert f"Signed by the key {signer.key_id}" in ended.out


def test_without_a_key_the_signature_is_reported_as_unchecked(dermatriage: Dermatriage, bundle: Path) -> None:
    ended = dermatriage("verify", str(bundle))
    assert ended.exit_code == 0
    assert "--key checks that" in ended.out


def test_another_key_and_a_changed_byte_are_exit_code_1(dermatriage: Dermatriage, bundle: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "a.pem", tmp_path / "b.pem")
    ended = dermatriage("verify", str(bundle), "--key", "b.pem")
    assert (ended.exit_code, ended.out) == (1, "")
    assert "not one of the trusted keys" in ended.err
    content = bytearray(bundle.read_bytes())
    content[content.index(b"# card.md") + 2] ^= 1
    bundle.write_bytes(content)
    assert dermatriage("verify", str(bundle), "--key", "public.pem").exit_code == 1


def test_what_is_no_bundle_is_exit_code_2(dermatriage: Dermatriage, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other.zip").write_text("no zip")
    for named, key in (("other.zip", "public.pem"), ("none.zip", "public.pem"), (str(bundle), "none.pem")):
        assert dermatriage("verify", named, "--key", key).exit_code == 2
