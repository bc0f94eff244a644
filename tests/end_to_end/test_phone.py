"""What a phone of 375 pixels shows: whole words, nothing that touches its neighbour, and a way back from every page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from migrations import migrated
from models_store.store.storage import Storage
from tests.end_to_end.browser import PHONE, Visit, visit
from tests.end_to_end.serving import served
from tests.populated_service import populate

BROKEN_WORDS = """() => [...document.querySelectorAll("#card td, #card th")].flatMap((cell) => {
  const node = cell.childNodes.length === 1 && cell.firstChild.nodeType === Node.TEXT_NODE ? cell.firstChild : null;
  return node ? [...node.data.matchAll(/[^\\s-]+/g)].filter((word) => {
    const range = new Range();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    return range.getClientRects().length > 1;
  }).map((word) => word[0]) : [];
})"""
BADGES_OUTSIDE_THEIR_CELL = """() => [...document.querySelectorAll("td .badge")].filter((badge) =>
  badge.getBoundingClientRect().right > badge.closest("td").getBoundingClientRect().right).map((it) => it.innerText)"""
CUT_SELECTS = """() => [...document.querySelectorAll("select")].filter((it) => it.scrollWidth > it.clientWidth)
  .map((it) => it.id)"""


@pytest.fixture(scope="module")
def populated(
    browser: Browser, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, list[str]]]:
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("phone")
    url = f"sqlite:///{folder}/phone.db"
    with migrated(url) as database:
        experiments = populate(database, Storage(str(folder / "store")), broker_url, folder / "bundles")
    with served(folder, url, broker_url=broker_url) as home:
        yield home, experiments


@pytest.fixture
def visitor(browser: Browser, populated: tuple[str, list[str]]) -> Iterator[Visit]:
    with visit(browser, populated[0], colours="dark", **PHONE | {"viewport": {"width": 375, "height": 740}}) as visitor:
        yield visitor


def test_the_tables_of_a_model_card_keep_their_words(visitor: Visit, populated: tuple[str, list[str]]) -> None:
    visitor.open(f"/models/mdl_{populated[1][0]}")
    assert visitor.page.locator("#card td").count() > 100
    assert visitor.page.evaluate(BROKEN_WORDS) == []


def test_a_status_does_not_touch_the_figure_beside_it(visitor: Visit, populated: tuple[str, list[str]]) -> None:
    visitor.open(f"/experiments/{populated[1][0]}")
    assert visitor.page.locator("td .badge").count() > 3
    assert visitor.page.evaluate(BADGES_OUTSIDE_THEIR_CELL) == []


@pytest.mark.parametrize("address", ["/models", "/experiments/new?preset=laptop"])
def test_select_boxes_show_their_choice_in_full(visitor: Visit, address: str) -> None:
    visitor.open(address)
    assert visitor.page.locator("select").count() > 1
    assert visitor.page.evaluate(CUT_SELECTS) == []


def test_the_api_reference_follows_the_colours_and_leads_back(visitor: Visit) -> None:
    visitor.open("/docs")
    expect(visitor.page.locator(".opblock").first).to_be_visible()
    for part in ("html", ".swagger-ui"):
        background = visitor.page.locator(part).first.evaluate("it => getComputedStyle(it).backgroundColor")
        assert background == "rgb(28, 32, 34)"
    visitor.page.get_by_role("link", name="Dashboard").click()
    expect(visitor.page.get_by_role("heading", name="Experiments")).to_be_visible()
    assert visitor.is_clean()


def test_the_report_leads_back_where_there_is_a_dashboard(visitor: Visit, populated: tuple[str, list[str]]) -> None:
    visitor.open(f"/v1/experiments/{populated[1][0]}/report")
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 375
    visitor.page.get_by_role("link", name="Experiment in the dashboard").click()
    visitor.page.wait_for_url(f"**/experiments/{populated[1][0]}")
    assert visitor.is_clean()


def test_an_unknown_address_leads_back(visitor: Visit, populated: tuple[str, list[str]]) -> None:
    visitor.page.goto(f"{populated[0]}/nothing/here")
    visitor.page.get_by_role("link", name="All experiments").click()
    expect(visitor.page.get_by_role("heading", name="Experiments")).to_be_visible()
