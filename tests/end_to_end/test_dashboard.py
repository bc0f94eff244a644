"""The dashboard in a real browser with the whole product: an experiment from the form to its report, accessible."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from migrations import migrate, migrated
from models_store.datasets.synthetic import generate
from service.access import keys
from tests.end_to_end.browser import DESKTOP, PHONE, visit
from tests.end_to_end.serving import served
from tests.end_to_end.stack import Stack, eventually

EXPERIMENT_SECONDS = 240
EPOCHS = 3
POINTS = """() => window.isTheSamePage ? document.getElementById("curve-recall").data?.[0]?.x.length ?? 0 : 0"""

EVERYWHERE = [
    pytest.param(device, colours, id=f"{name}-{colours}", marks=marks)
    for name, device, colours, marks in (
        ("desktop", DESKTOP, "light", ()),
        ("desktop", DESKTOP, "dark", pytest.mark.slow),
        ("phone", PHONE, "light", ()),
    )
]


@dataclass(frozen=True)
class Journey:
    """The statuses that a visitor saw who submitted an experiment and watched its epochs on one and the same page."""

    home: str
    experiment_id: str
    statuses: list[str]


@pytest.fixture(scope="session")
def journey(browser: Browser, training_stack: Stack) -> Journey:
    """Submits an experiment with one network in the form and follows it to its end; its model becomes the champion."""
    statuses: list[str] = []
    home = f"http://127.0.0.1:{training_stack.web_port}"
    with visit(browser, home) as visitor:
        page = visitor.page
        visitor.open("/")
        page.get_by_role("link", name="Start with a demo").click()
        page.get_by_label("Name", exact=True).fill("in the browser")
        page.get_by_label("Data set").select_option("small")
        for strategy in ("HighDropout", "LowLR"):
            page.get_by_label(strategy).uncheck()
        page.get_by_label("Epochs").fill(str(EPOCHS))
        page.locator("#estimate", has_text="2 trials").wait_for()
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/experiments/exp_*")
        experiment_id = page.url.rpartition("/")[2]
        page.evaluate("window.isTheSamePage = true")
        page.expose_function("noteStatus", lambda status: statuses.append(status))
        page.evaluate(
            """() => new MutationObserver(() => noteStatus(document.getElementById("status").textContent))
            .observe(document.getElementById("status"), { childList: true })"""
        )
        # The page's policy does not allow wait_for_function().
        eventually(lambda: page.evaluate(POINTS) >= EPOCHS, EXPERIMENT_SECONDS, "drawing of every epoch")
        page.get_by_role("link", name="Result", exact=True).wait_for(timeout=EXPERIMENT_SECONDS * 1000)
        assert visitor.is_clean()
    return Journey(home, experiment_id, statuses)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that requires keys, and a read-only key."""
    url = f"sqlite:///{tmp_path}/guarded.db"
    with migrated(url) as database, database.write() as session:
        _, key = keys.create(session, "reader", ["read"])
    with served(tmp_path, url, auth="keys") as home:
        yield home, key


def pages(journey: Journey) -> list[str]:
    experiment = f"/experiments/{journey.experiment_id}"
    return [
        "/",
        "/?text=nothing+found",
        "/experiments/new",
        "/data-format",
        experiment,
        f"{experiment}/result",
        "/models",
        "/try",
        "/system",
    ]


def test_an_experiment_is_followed_from_the_form_to_its_end_without_a_reload(journey: Journey) -> None:
    assert journey.statuses[:1] == ["running"]


def test_its_report_opens_and_its_log_can_be_read(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home) as visitor:
        visitor.open(f"/experiments/{journey.experiment_id}")
        expect(visitor.page.locator(".headline")).to_contain_text("Test recall")
        visitor.page.get_by_role("link", name="Report").click()
        expect(visitor.page.get_by_role("heading", name="Summary")).to_be_visible()
        visitor.page.go_back()
        visitor.page.get_by_role("link", name="Log of CNN_v1/W3").click()
        expect(visitor.page.locator("#log")).to_contain_text("epoch 3: val_recall")
        assert visitor.is_clean()


@pytest.mark.parametrize(("device", "colours"), EVERYWHERE)
def test_every_page_is_accessible_and_fits_the_screen(
    browser: Browser, journey: Journey, device: dict[str, Any], colours: str
) -> None:
    found = {}
    with visit(browser, journey.home, colours=colours, **device) as visitor:
        for path in pages(journey):
            visitor.open(path)
            visitor.page.wait_for_load_state("networkidle") if path == "/experiments/new" else None
            wide = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            problems = visitor.accessibility_violations() + ([f"{wide} pixels too wide"] if wide > 0 else [])
            if problems:
                found[path] = problems
        assert visitor.is_clean()
    assert found == {}


def test_a_mistake_is_shown_beside_its_field(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home, **PHONE) as visitor:
        visitor.open("/experiments/new?preset=demo")
        visitor.page.get_by_label("Epochs").fill("many")
        visitor.page.get_by_role("button", name="Submit").click()
        wrong = visitor.page.get_by_label("Epochs")
        expect(wrong).to_have_attribute("aria-invalid", "true")
        expect(visitor.page.locator("#epochs-wrong")).to_contain_text("Enter a whole number from 1 to 500")
        expect(visitor.page.locator("#mistakes")).to_be_focused()
        assert visitor.accessibility_violations() == []


def test_the_chosen_colours_are_remembered(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home) as visitor:
        visitor.open("/")
        visitor.page.get_by_role("button", name="Dark colours").click()
        visitor.open("/experiments/new")
        assert visitor.page.evaluate("document.documentElement.dataset.theme") == "dark"
        expect(visitor.page.get_by_role("button", name="Dark colours")).to_have_attribute("aria-pressed", "true")


def test_the_keyboard_reaches_the_content_first(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home) as visitor:
        visitor.open("/")
        visitor.page.keyboard.press("Tab")
        expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        visitor.page.keyboard.press("Enter")
        assert visitor.page.evaluate("document.activeElement.id") == "main"


def test_the_form_works_without_javascript(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home, java_script_enabled=False) as visitor:
        visitor.open("/experiments/new?preset=demo")
        visitor.page.get_by_label("Data set").select_option("small")
        visitor.page.get_by_label("Queue").select_option("gpu")  # without a worker
        visitor.page.get_by_role("button", name="Estimate").click()
        expect(visitor.page.locator("#estimate")).to_contain_text("4 trials")
        visitor.page.get_by_role("button", name="Submit").click()
        visitor.page.wait_for_url("**/experiments/exp_*")
        visitor.page.locator("summary", has_text="Cancel").click()
        visitor.page.get_by_role("button", name="Cancel experiment").click()
        expect(visitor.page.locator("#status")).to_have_text("cancelled")


def test_a_data_set_is_registered_in_the_form_and_chosen_there(browser: Browser, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/web.db"
    migrate(url)
    generate(tmp_path / "clinic.npz", counts=(140, 30, 50))
    with served(tmp_path, url) as home, visit(browser, home) as visitor:
        visitor.open("/experiments/new")
        page = visitor.page
        page.get_by_text("Register another data set").click()
        page.get_by_role("button", name="Register", exact=True).click()
        expect(page.locator("#register-status")).to_have_text("Enter a name and choose an .npz file.")
        page.get_by_label("Name in experiments").fill("clinic")
        page.set_input_files("#register-file", tmp_path / "clinic.npz")
        page.set_input_files("#register-lesions", tmp_path / "clinic_lesions.csv")
        page.get_by_role("button", name="Register", exact=True).click()
        expect(page.locator("#register-status")).to_contain_text(
            "clinic is registered and chosen. The images are generated"
        )
        expect(page.get_by_label("Data set")).to_have_value("clinic")
        assert visitor.accessibility_violations() == []
        assert visitor.is_clean()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_key_signs_in_and_a_reader_is_offered_nothing_to_change(
    browser: Browser, guarded: tuple[str, str], colours: str
) -> None:
    home, key = guarded
    with visit(browser, home, colours=colours) as visitor:
        visitor.open("/models")
        assert visitor.page.url.endswith("/sign-in?next=%2Fmodels")
        assert visitor.accessibility_violations() == []
        visitor.page.get_by_label("API key").fill(key)
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.page.wait_for_url("**/models")
        visitor.open("/")
        expect(visitor.page.get_by_text("Your key is read-only")).to_be_visible()
        expect(visitor.page.get_by_role("link", name="New experiment")).to_have_count(0)
        assert visitor.accessibility_violations() == []
        visitor.page.get_by_role("button", name="Sign out").click()
        visitor.page.wait_for_url("**/sign-in")
        assert visitor.is_clean()
