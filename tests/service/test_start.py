"""The settings that the web process refuses at start, and the packages that it never loads."""

import subprocess
import sys
from pathlib import Path

import pytest

from models_store.settings import Settings
from service.access.gate import OpenAccessRefused
from service.app import create_app

HEAVY = ("keras", "tensorflow", "torch", "jax", "medmnist", "sklearn", "scipy", "pandas", "onnx", "tf2onnx", "workers")
SCRIPT = f"""
import sys
from models_store.settings import Settings
from service.app import create_app
create_app(Settings(database_url=sys.argv[1], store_url=sys.argv[2], _env_file=None)).openapi()
import service.web, service.app
print([name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", "127.0.0.1.example.org", ""])
def test_open_access_is_refused_off_loopback(host: str) -> None:
    with pytest.raises(OpenAccessRefused, match="DERMATRIAGE_AUTH"):
        create_app(Settings(host=host, auth="off", _env_file=None))


def test_keys_allow_to_listen_everywhere(tmp_path: Path) -> None:
    create_app(
        Settings(
            host="0.0.0.0",
            auth="keys",
            database_url=f"sqlite:///{tmp_path}/a.db",
            store_url=str(tmp_path),
            _env_file=None,
        )
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.10"])
def test_open_access_is_allowed_on_loopback(host: str, tmp_path: Path) -> None:
    create_app(Settings(host=host, database_url=f"sqlite:///{tmp_path}/a.db", store_url=str(tmp_path), _env_file=None))


def test_web_process_never_loads_what_trains(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, f"sqlite:///{tmp_path}/a.db", str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    assert subprocess.check_output(command, text=True, cwd=root, timeout=60).strip() == "[]"
