"""A browser, and the whole product with trials that really train."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from models_store.datasets.synthetic import generate
from tests.end_to_end.browser import started
from tests.end_to_end.stack import Stack, training

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
    with training(folder) as stack:
        generate(folder / "small.npz", counts=COUNTS)
        stack.register(folder / "small.npz", "small")
        yield stack
