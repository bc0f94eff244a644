"""Where `dataset` and `keys` work: on the server that answers, or on a database that is named, never on a new one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrations import exists
from models_store.datasets.synthetic import generate

Dermatriage = Callable[..., Any]
SMALL = (70, 40, 40)
REGISTER = ("dataset", "register", "clinic.npz", "--name", "clinic")


@pytest.fixture(autouse=True)
def _clinic(tmp_path: Path) -> None:
    generate(tmp_path / "clinic.npz", counts=SMALL)


@pytest.fixture
def elsewhere(dermatriage: Dermatriage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A folder without a database, in which the settings name none either."""
    for name in ("DATABASE_URL", "STORE_URL"):
        monkeypatch.delenv(f"DERMATRIAGE_{name}")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "clinic.npz").rename(folder / "clinic.npz")
    (tmp_path / "clinic_lesions.csv").rename(folder / "clinic_lesions.csv")
    monkeypatch.chdir(folder)
    return folder


def test_reachable_server_gets_the_data_set_from_any_folder(
    elsewhere: Path, server: str, dermatriage: Dermatriage
) -> None:
    registered, again = dermatriage(*REGISTER), dermatriage(*REGISTER, "--json")
    described = dermatriage("dataset", "describe", "clinic")
    split = dermatriage("dataset", "split", "clinic", "--seed", "3")
    submitted = dermatriage("submit", "--dataset", "clinic", "--set", "calibration.policy=youden", "--json")

    assert f"on {server}." in registered.out
    assert again.json["place"] == f"on {server}"
    assert "dermatriage dataset split clinic --seed 0" in registered.out
    assert ["test", "40"] in [line.split()[:2] for line in described.out.splitlines()]
    assert split.out.startswith("clinic_new_lesions_3 (sha256")
    assert submitted.exit_code == 0
    assert not (elsewhere / "var").exists()


@pytest.mark.usefixtures("server")
def test_invalid_file_is_refused_before_it_is_sent(dermatriage: Dermatriage, tmp_path: Path) -> None:
    (tmp_path / "clinic.npz").write_bytes(b"no archive")
    ended = dermatriage(*REGISTER)
    assert ended.exit_code == 2
    assert "Sending" not in ended.err


@pytest.mark.parametrize(
    "command", [REGISTER, ("dataset", "split", "clinic"), ("dataset", "describe", "clinic"), ("keys", "list")]
)
def test_missing_database_is_reported_and_not_made(
    elsewhere: Path, dermatriage: Dermatriage, command: tuple[str, ...]
) -> None:
    ended = dermatriage(*command)

    assert ended.exit_code == 2
    assert f"there is no database at {elsewhere}/var/dermatriage.db" in ended.err
    assert "dermatriage up" in ended.err
    assert not (elsewhere / "var").exists()


def test_database_is_made_on_request(elsewhere: Path, dermatriage: Dermatriage) -> None:
    made = dermatriage("keys", "create", "ann", "--scope", "read", "--var", "mine", "--create")
    registered = dermatriage(*REGISTER, "--var", "mine")
    listed = dermatriage("keys", "list", "--var", "mine")

    assert exists(f"sqlite:///{elsewhere}/mine/dermatriage.db")
    assert f"{elsewhere}/mine/dermatriage.db" in made.err
    assert f"in the database {elsewhere}/mine/dermatriage.db and the store {elsewhere}/mine/store." in registered.out
    assert "ann" in listed.out


def test_direct_does_not_use_the_server(server: str, dermatriage: Dermatriage, tmp_path: Path) -> None:
    registered = dermatriage(*REGISTER, "--direct")
    assert f"in the database {tmp_path}/test.db" in registered.out
    assert dermatriage("dataset", "describe", "clinic", "--url", server).exit_code == 0


def test_server_and_folder_exclude_each_other(dermatriage: Dermatriage) -> None:
    ended = dermatriage(*REGISTER, "--url", "http://127.0.0.1:9", "--var", "mine")
    assert ended.exit_code == 2
    assert "choose one of them" in ended.err


def test_printed_commands_use_the_same_destination(
    server: str, dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DERMATRIAGE_URL")
    for place in (("--url", server), ("--var", "my folder", "--create")):
        printed = dermatriage(*REGISTER, *place).out.rpartition("shared lesions: ")[2]
        assert dermatriage(*shlex.split(printed)[1:]).exit_code == 0
    submitted = dermatriage("submit", "--dataset", "synthetic", "--url", server)
    watch = shlex.split(submitted.out.rpartition("Follow it: ")[2])[1:]
    assert watch[-2:] == ["--url", server]
    assert dermatriage("cancel", *watch[1:]).exit_code == 0
    monkeypatch.setenv("DERMATRIAGE_URL", server)
    assert "--url" not in dermatriage("submit", "--dataset", "synthetic").out


def test_help_names_the_variables_of_address_and_key(dermatriage: Dermatriage) -> None:
    words = " ".join(dermatriage("--help").out.split())
    assert "DERMATRIAGE_URL is the address of the server" in words
    assert "DERMATRIAGE_API_KEY is the API key" in words
