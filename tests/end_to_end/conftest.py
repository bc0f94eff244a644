"""A browser, and a study that was submitted in it and watched to its end: real processes, a real network."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser

from migrations import upgrade
from models_store.database import Database
from models_store.datasets.synthetic import generate
from tests.end_to_end.browser import started, visit
from tests.end_to_end.stack import Stack, eventually

# Enough malignant images in validation for the guarantee of the default calibration.
COUNTS = (600, 400, 200)
STUDY_SECONDS = 240
EPOCHS = 3
POINTS = """() => window.isTheSamePage ? document.getElementById("curve-recall").data?.[0]?.x.length ?? 0 : 0"""


@dataclass(frozen=True)
class Journey:
    """What a visitor saw who submitted a study and watched every epoch of it arrive on one and the same page."""

    home: str
    experiment_id: str
    statuses: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def studio(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole product, its trials real, with a small registered data set `small`. Asks for the browser first."""
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("studio")
    url = f"sqlite:///{folder / 'studio.db'}"
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


@pytest.fixture(scope="session")
def journey(browser: Browser, studio: Stack) -> Journey:
    """Submits a study of one network in the form and follows it to its end; its model is the champion then."""
    statuses: list[str] = []
    home = f"http://127.0.0.1:{studio.web_port}"
    with visit(browser, home) as visitor:
        page = visitor.page
        visitor.open("/")
        page.get_by_role("link", name="Set up a demonstration").click()
        page.get_by_label("Name", exact=True).fill("in the browser")
        page.get_by_label("Data set").select_option("small")
        for strategy in ("HighDropout", "LowLR"):
            page.get_by_label(strategy).uncheck()
        page.get_by_label("Epochs").fill(str(EPOCHS))
        page.locator("#estimate", has_text="2 trials").wait_for()
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/studies/exp_*")
        experiment_id = page.url.rpartition("/")[2]
        page.evaluate("window.isTheSamePage = true")
        page.expose_function("noteStatus", lambda status: statuses.append(status))
        page.evaluate(
            """() => new MutationObserver(() => noteStatus(document.getElementById("status").textContent))
            .observe(document.getElementById("status"), { childList: true })"""
        )
        # Not wait_for_function(), which the page's own policy refuses.
        eventually(lambda: page.evaluate(POINTS) >= EPOCHS, STUDY_SECONDS, "drawing of every epoch")
        page.get_by_role("link", name="Result", exact=True).wait_for(timeout=STUDY_SECONDS * 1000)
        assert visitor.is_clean()
    return Journey(home, experiment_id, statuses)
