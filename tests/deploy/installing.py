"""What an operator does first: clone, prepare, write the settings of this machine."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.stack import Stack

REPOSITORY = Path(__file__).parent.parent.parent
# So that a silent worker is noticed within a test's patience; everything else is as an operator gets it.
QUICK = {"DERMATRIAGE_LEASE_SECONDS": "15", "DERMATRIAGE_SWEEP_SECONDS": "3"}


def clean_clone(target: Path, revision: str = "HEAD") -> Path:
    subprocess.run(["git", "clone", "--quiet", REPOSITORY.as_uri(), str(target)], check=True)
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", revision], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(["git", "-C", str(target), "checkout", "--quiet", "--detach", commit], check=True)
    return target


def configure(stack: Stack, data: Path, tag: str) -> None:
    stack.run("docs/deployment/prepare.sh")
    stack.write_settings(
        WEB_PORT=str(stack.port), DATA_FOLDER=str(data.parent), IMAGE_PREFIX="deploy-test", IMAGE_TAG=tag, **QUICK
    )


@contextmanager
def deployed(stack: Stack) -> Iterator[Stack]:
    """Builds and starts it with a first key; whatever happens, nothing of it is left at the end."""
    try:
        stack.build()
        stack.up()
        stack.make_key()
        yield stack
    finally:
        stack.down("--volumes")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
