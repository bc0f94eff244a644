"""A browser, and the whole product with trials that really train."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from migrations import upgrade
from models_store.database import Database
from models_store.datasets.synthetic import generate
from tests.end_to_end.browser import started
from tests.end_to_end.stack import Stack

# Enough malignant images in validation for the guarantee of the default calibration.
COUNTS = (600, 400, 200)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def training_stack(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product, its trials real, with a small registered data set `small`. Asks for the browser first."""
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("training_stack")
    url = f"sqlite:///{folder / 'training_stack.db'}"
    database = Database(url)
    upgrade(database)
    database.close()
    stack = Stack(folder, url, {"trial_module": "workers.trial", "lease_seconds": "20"})
    try:
        stack.start()
        generate(folder / "small.npz", counts=COUNTS)
        command = [sys.executable, "-m", "service.cli", "dataset", "register", str(folder / "small.npz")]
        subprocess.run([*command, "--name", "small"], env=stack.environment, check=True, capture_output=True)
        yield stack
    finally:
        stack.stop()
