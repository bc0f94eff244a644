"""The status of the server, downloads of models, keys, versions and completion."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.database import Database
from models_store.settings import Settings
from service.access import keys
from service.app import create_app
from tests.service.served import Scripted, ScriptedAnswer, served

Dermatriage = Callable[..., Any]
MakeModel = Callable[..., str]


@pytest.mark.usefixtures("server")
def test_status_names_what_is_missing_and_what_waits(dermatriage: Dermatriage, make_model: MakeModel) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json

    before = dermatriage("status")
    version = make_model(promote=True)
    after = dermatriage("status", "--json")

    assert before.exit_code == 1
    assert "no model has been promoted" in before.out
    assert submitted["id"] in before.out
    assert (after.exit_code, after.json["status"]) == (0, "ready")
    assert version in after.json["checks"]["model"]["detail"]
    assert [each["id"] for each in after.json["experiments"]] == [submitted["id"]]


@pytest.mark.parametrize("arguments", [("--version",), ("version",)])
def test_version_is_printed(dermatriage: Dermatriage, arguments: tuple[str, ...]) -> None:
    assert dermatriage(*arguments).out.startswith("dermatriage 0.")


def test_help_documents_the_exit_codes(dermatriage: Dermatriage) -> None:
    words = dermatriage("-h").out.split()

    assert "Exit codes: 0 done" in " ".join(words)


def test_missing_unknown_and_insufficient_keys_are_exit_code_4_with_the_command_that_makes_one(
    settings: Settings, database: Database, dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        _, text = keys.create(session, "a reader", ["read"])
    submit = ("submit", "--preset", "demo", "--dataset", "synthetic")

    with served(create_app(settings.model_copy(update={"auth": "keys"}), database=database)) as url:
        missing = dermatriage(*submit, "--url", url)
        monkeypatch.setenv("DERMATRIAGE_API_KEY", f"dt_{'a' * 8}_{'b' * 32}")
        unknown = dermatriage(*submit, "--url", url)
        monkeypatch.setenv("DERMATRIAGE_API_KEY", text)
        insufficient = dermatriage(*submit, "--url", url)

    assert [ended.exit_code for ended in (missing, unknown, insufficient)] == [4, 4, 4]
    assert all("dermatriage keys create" in ended.err for ended in (missing, unknown, insufficient))
    assert "is not valid" in unknown.err
    assert "--scope submit" in insufficient.err


def test_server_of_another_kind_is_distinguished_from_a_refusal(dermatriage: Dermatriage) -> None:
    with served(Scripted([ScriptedAnswer(404, b"<html>", {"content-type": "text/html"})])) as url:
        ended = dermatriage("models", "--url", url)

    assert ended.exit_code == 2
    assert "not as DermaTriage does" in ended.err


@pytest.mark.usefixtures("server")
def test_card_and_bundle_are_fetched(dermatriage: Dermatriage, make_model: MakeModel, tmp_path: Path) -> None:
    version = make_model(threshold=0.25)

    card = dermatriage("card", version)
    bundle = dermatriage("bundle", version)

    assert card.out.strip() == "# card.md of threshold 0.25"
    assert bundle.exit_code == 0
    assert zipfile.is_zipfile(tmp_path / f"{version}.zip")


def test_key_is_made_listed_rotated_and_revoked(dermatriage: Dermatriage) -> None:
    made = dermatriage("keys", "create", "ci", "--scope", "read", "--scope", "submit", "--json").json
    fresh = dermatriage("keys", "rotate", made["prefix"], "--overlap-hours", "1", "--json").json
    revoked = dermatriage("keys", "revoke", made["prefix"])
    listed = dermatriage("keys", "list", "--json").json

    assert made["key"].startswith(f"dt_{made['prefix']}_")
    assert (fresh["name"], fresh["scopes"]) == ("ci", ["read", "submit"])
    assert fresh["key"] != made["key"]
    assert "revoked" in revoked.out
    assert [(key["prefix"], key["revoked_at"] is None) for key in listed] == [
        (made["prefix"], False),
        (fresh["prefix"], True),
    ]
    assert not any("key" in key for key in listed)


def completed(*words: str, url: str = "http://127.0.0.1:9") -> list[str]:
    """The completions of the last of `words` in bash, by the protocol of the environment variables."""
    protocol = {
        "_DERMATRIAGE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    environment = {**os.environ, **protocol, "DERMATRIAGE_URL": url}
    program = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['dermatriage']; from service.cli.__main__ import main; main()",
    ]
    completions = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert completions.stderr == ""
    return completions.stdout.split()


def test_shell_completes_verbs_and_names_without_a_server() -> None:
    assert completed("dermatriage", "ca") == ["cancel", "card", "catalog"]
    assert completed("dermatriage", "submit", "--architecture", "ResNet") == [f"ResNet_v{each}" for each in range(1, 5)]
    assert completed("dermatriage", "cancel", "exp_") == []


def test_shell_completes_ids_from_the_server(server: str, dermatriage: Dermatriage, make_model: MakeModel) -> None:
    submitted = dermatriage("submit", "--preset", "demo", "--dataset", "synthetic", "--json").json
    version = make_model()

    assert submitted["id"] in completed("dermatriage", "watch", "exp_", url=server)
    assert completed("dermatriage", "promote", "mdl_", url=server) == [version]
