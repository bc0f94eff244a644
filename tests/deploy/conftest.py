"""Real images, a real engine, a clean clone. `make test-deploy` runs these; a plain `pytest` leaves them out."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.deploy.installing import clean_clone, configure, deployed, new_stack, remove_abandoned
from tests.deploy.stack import Stack


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if any("tests/deploy" in argument for argument in config.args) else True


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """A Docker engine that answers, with Compose."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command on this machine")
    for words in (("docker", "info"), ("docker", "compose", "version")):
        asked = subprocess.run(words, capture_output=True, text=True)
        if asked.returncode:
            pytest.skip(f"`{' '.join(words)}` does not answer: {asked.stderr.strip()}")
    # Whoever ends this run, a time limit say, gets its containers removed as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    remove_abandoned()


@pytest.fixture(scope="session")
def first(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The deployment that most tests share, from a clean clone of the last commit."""
    stack = new_stack(clean_clone(tmp_path_factory.mktemp("first") / "clone"), "first")
    configure(stack, real_data)
    with deployed(stack):
        yield stack


@pytest.fixture(scope="session")
def lesion(real_data: Path) -> bytes:
    """One real test image as PNG."""
    with np.load(real_data) as data:
        content = BytesIO()
        Image.fromarray(data["test_images"][0]).save(content, "png")
    return content.getvalue()
