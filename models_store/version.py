"""Which code ran: kept with every result, so that a figure can be traced to what produced it."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path


def commit() -> str:
    """The commit of a source checkout, what `DERMATRIAGE_COMMIT` says in an image, else the package's version."""
    stated = os.environ.get("DERMATRIAGE_COMMIT")
    if stated:
        return stated
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"version {version('dermatriage')}"
