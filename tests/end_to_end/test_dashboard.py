"""The dashboard in a real browser, on the whole product: a study from the form to its report, and no barrier in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from migrations import upgrade
from models_store.database import Database
from service.access import keys
from tests.end_to_end.browser import DESKTOP, PHONE, visit
from tests.end_to_end.conftest import Journey
from tests.end_to_end.serving import served

EVERYWHERE = [
    pytest.param(device, colours, id=f"{name}-{colours}", marks=marks)
    for name, device, colours, marks in (
        ("desktop", DESKTOP, "light", ()),
        ("desktop", DESKTOP, "dark", pytest.mark.slow),
        ("phone", PHONE, "light", ()),
    )
]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that asks for keys, and one that may only read."""
    url = f"sqlite:///{tmp_path}/guarded.db"
    database = Database(url)
    upgrade(database)
    with database.write() as session:
        _, key = keys.create(session, "reader", ["read"])
    database.dispose()
    with served(tmp_path, url, auth="keys") as home:
        yield home, key


def pages(journey: Journey) -> list[str]:
    study = f"/studies/{journey.experiment_id}"
    return ["/", "/?text=nothing+like+it", "/studies/new", study, f"{study}/result", "/models", "/try", "/system"]


def test_a_study_is_watched_from_the_form_to_its_end_without_loading_the_page_again(journey: Journey) -> None:
    assert journey.statuses[:1] == ["running"]


def test_its_report_opens_and_its_log_can_be_read(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home) as visitor:
        visitor.open(f"/studies/{journey.experiment_id}")
        expect(visitor.page.locator(".headline")).to_contain_text("Recall on test")
        visitor.page.get_by_role("link", name="Report").click()
        expect(visitor.page.get_by_role("heading", name="In short")).to_be_visible()
        visitor.page.go_back()
        visitor.page.get_by_role("link", name="Log of CNN_v1/W3").click()
        expect(visitor.page.locator("#log")).to_contain_text("epoch 3: val_recall")
        assert visitor.is_clean()


@pytest.mark.parametrize(("device", "colours"), EVERYWHERE)
def test_no_page_has_a_serious_barrier_or_is_wider_than_the_screen(
    browser: Browser, journey: Journey, device: dict[str, Any], colours: str
) -> None:
    found = {}
    with visit(browser, journey.home, colours=colours, **device) as visitor:
        for path in pages(journey):
            visitor.open(path)
            visitor.page.wait_for_load_state("networkidle") if path == "/studies/new" else None
            wide = visitor.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            problems = visitor.barriers() + ([f"{wide} pixels too wide"] if wide > 0 else [])
            if problems:
                found[path] = problems
        assert visitor.is_clean()
    assert found == {}


def test_a_mistake_is_shown_beside_its_field(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home, **PHONE) as visitor:
        visitor.open("/studies/new?preset=demo")
        visitor.page.get_by_label("Epochs").fill("many")
        visitor.page.get_by_role("button", name="Submit").click()
        wrong = visitor.page.get_by_label("Epochs")
        expect(wrong).to_have_attribute("aria-invalid", "true")
        expect(visitor.page.locator("#epochs-wrong")).to_contain_text("Give a whole number from 1 to 500")
        assert visitor.page.evaluate("document.activeElement.id") == "mistakes"
        assert visitor.barriers() == []


def test_the_chosen_colours_are_remembered(browser: Browser, journey: Journey) -> None:
    with visit(browser, journey.home) as visitor:
        visitor.open("/")
        visitor.page.get_by_role("button", name="Dark colours").click()
        visitor.open("/studies/new")
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
        visitor.open("/studies/new?preset=demo")
        visitor.page.get_by_label("Data set").select_option("small")
        visitor.page.get_by_label("Queue").select_option("gpu")  # on which no worker here listens
        visitor.page.get_by_role("button", name="Estimate").click()
        expect(visitor.page.locator("#estimate")).to_contain_text("4 trials")
        visitor.page.get_by_role("button", name="Submit").click()
        visitor.page.wait_for_url("**/studies/exp_*")
        visitor.page.locator("summary", has_text="Cancel").click()
        visitor.page.get_by_role("button", name="Yes, cancel this study").click()
        expect(visitor.page.locator("#status")).to_have_text("cancelled")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_key_signs_in_and_a_reader_is_offered_nothing_to_change(
    browser: Browser, guarded: tuple[str, str], colours: str
) -> None:
    home, key = guarded
    with visit(browser, home, colours=colours) as visitor:
        visitor.open("/models")
        assert visitor.page.url.endswith("/sign-in?next=%2Fmodels")
        assert visitor.barriers() == []
        visitor.page.get_by_label("API key").fill(key)
        visitor.page.get_by_role("button", name="Sign in").click()
        visitor.page.wait_for_url("**/models")
        visitor.open("/")
        expect(visitor.page.get_by_text("Your key may read")).to_be_visible()
        expect(visitor.page.get_by_role("link", name="New study")).to_have_count(0)
        assert visitor.barriers() == []
        visitor.page.get_by_role("button", name="Sign out").click()
        visitor.page.wait_for_url("**/sign-in")
        assert visitor.is_clean()
