"""The command line, run in this process, and a real server for it."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from models_store.settings import Settings
from service.cli import __main__ as cli
from service.embedded import probes
from tests.service.served import served


@dataclass(frozen=True)
class Ended:
    """How one call of the command line ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Dermatriage = Callable[..., Ended]


@pytest.fixture
def database_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """One database is enough here: the command line talks HTTP."""
    copy = tmp_path / "test.db"
    copy.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def dermatriage(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dermatriage:
    """Runs the command line in an empty folder, with the test's own database and store."""
    monkeypatch.chdir(tmp_path)
    for name in ("database_url", "store_url", "cache_root"):
        monkeypatch.setenv(f"DERMATRIAGE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("DERMATRIAGE_PORT", str(probes.free()))

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["dermatriage", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0 if code is None else 1, printed.out, printed.err)

    return run


@pytest.fixture
def server(app: FastAPI, dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:  # noqa: ARG001
    with served(app) as url:
        monkeypatch.setenv("DERMATRIAGE_URL", url)
        yield url
