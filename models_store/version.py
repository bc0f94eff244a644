"""The version of the running code, stored with every result so that a figure can be traced to its code."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path


def commit() -> str:
    """The commit of a source checkout, `DERMATRIAGE_COMMIT` in an image, otherwise the version of the package."""
    stated = os.environ.get("DERMATRIAGE_COMMIT")
    if stated:
        return stated
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return f"version {version('dermatriage')}"
