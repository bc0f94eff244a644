"""Plots and tables as files for a paper, saved from the pages and from the report without a server."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from migrations import migrated
from models_store.store.storage import Storage
from models_store.wording import rate
from tests.end_to_end.browser import visit
from tests.end_to_end.serving import served
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_finished


@dataclass(frozen=True)
class Finished:
    """A server with two finished experiments of the same test results."""

    home: str
    experiments: list[str]
    final: FinalRecord

    @property
    def result(self) -> str:
        return f"/experiments/{self.experiments[0]}/result"


@pytest.fixture(scope="module")
def finished(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("downloads")
    url, final = f"sqlite:///{folder}/finished.db", a_final_record(images=200)
    with migrated(url) as database, database.write() as session:
        storage = Storage(str(folder / "store"))
        experiments = [
            store_finished(session, storage, folder / name, a_spec(name=name), final) for name in ("=one", "two")
        ]
    with served(folder, url) as home:
        yield Finished(home, experiments, final)


def downloaded(page: Page, button: str) -> tuple[str, bytes]:
    """The name and the content of the file that a button saves when it is pressed with the keyboard."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).first.press("Enter")
    return download.value.suggested_filename, download.value.path().read_bytes()


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode())))


def test_a_plot_is_saved_in_black_on_white_also_from_a_dark_page(browser: Browser, finished: Finished) -> None:
    with visit(browser, finished.home, colours="dark") as visitor:
        visitor.open(finished.result)
        expect(visitor.page.locator("#plot-roc .trace").first).to_be_attached()
        name, svg = downloaded(visitor.page, "SVG of ROC curve")
        assert name == f"{finished.experiments[0]}-roc.svg"
        assert svg.startswith(b"<svg")
        for words in (b"Recall (sensitivity)", b"chosen threshold", b"chance"):
            assert words in svg
        name, png = downloaded(visitor.page, "PNG of ROC curve")
        assert name == f"{finished.experiments[0]}-roc.png"
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == (2880, 1920)
            assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)
        assert visitor.is_clean()


def test_the_csv_of_a_plot_has_its_points_and_their_intervals(browser: Browser, finished: Finished) -> None:
    test = finished.final.evaluation
    with visit(browser, finished.home) as visitor:
        visitor.open(finished.result)
        expect(visitor.page.locator("#plot-roc .trace").first).to_be_attached()
        _, content = downloaded(visitor.page, "CSV of ROC curve")
    header, *points = rows(content)
    assert header[:4] == ["series", "1 - specificity", "Recall (sensitivity)", "1 - specificity low"]
    curve = [(float(x), float(y)) for name, x, y, *_ in points if name == "ROC"]
    assert curve[1:] == [(point["false_positive_rate"], point["recall"]) for point in test["curve"]]
    [chosen] = [point for point in points if point[0] == "chosen threshold"]
    limits = test["intervals"]["recall"]
    assert [float(value) for value in chosen[2:]] == pytest.approx(
        [
            test["recall"],
            1 - test["intervals"]["specificity"]["high"],
            1 - test["intervals"]["specificity"]["low"],
            limits["low"],
            limits["high"],
        ]
    )


def test_the_csv_of_a_table_has_the_cells_that_are_shown(browser: Browser, finished: Finished) -> None:
    test = finished.final.evaluation
    with visit(browser, finished.home) as visitor:
        visitor.open(finished.result)
        name, content = downloaded(visitor.page, "CSV of All test images at the chosen threshold")
        assert name == f"{finished.experiments[0]}-all-test-images-at-the-chosen-threshold.csv"
        header, first, *_ = rows(content)
        assert header == ["Metric", "Value", "95 % interval", "Images"]
        assert first[1] == rate(test["recall"])
        _, content = downloaded(visitor.page, "CSV of Confusion matrix, test images")
        counts = [[int(cell) for cell in row[1:]] for row in rows(content)[1:]]
        assert counts == [[test["confusion"][name] for name in pair] for pair in (("tp", "fn"), ("fp", "tn"))]


def test_every_plot_and_every_table_of_the_pages_can_be_saved(browser: Browser, finished: Finished) -> None:
    first, second = finished.experiments
    pages = (
        f"/experiments/{first}",
        finished.result,
        f"/experiments/compare?id={first}&id={second}",
        f"/models/compare?a=mdl_{first}&b=mdl_{second}",
        f"/v1/experiments/{first}/report",
    )
    with visit(browser, finished.home) as visitor:
        for path in pages:
            visitor.open(path)
            plots = visitor.page.locator("figure:has(.plot)")
            for i in range(plots.count()):
                assert plots.nth(i).locator("button[data-format]").all_inner_texts() == ["SVG", "PNG", "CSV"], path
            tables = visitor.page.locator("main table").count()
            saved = visitor.page.locator(".downloads:not(figure *) button[data-format=csv]").count()
            assert saved == tables > 0, path


def test_a_comparison_is_saved_without_formulas(browser: Browser, finished: Finished) -> None:
    first, second = finished.experiments
    with visit(browser, finished.home) as visitor:
        visitor.open(f"/experiments/compare?id={first}&id={second}")
        name, content = downloaded(visitor.page, "CSV of Results")
        assert name == "compare-experiments-results.csv"
        assert rows(content)[0] == ["Result", "'=one seed 42", "two seed 42"]


def test_the_curves_of_an_experiment_are_saved(browser: Browser, finished: Finished) -> None:
    with visit(browser, finished.home) as visitor:
        visitor.open(f"/experiments/{finished.experiments[0]}")
        expect(visitor.page.locator("#curve-recall .trace").first).to_be_attached()
        name, content = downloaded(visitor.page, "CSV of Recall (sensitivity)")
        assert name == f"{finished.experiments[0]}-recall.csv"
        assert rows(content)[0] == ["series", "Epoch", "Recall (sensitivity)"]
        _, svg = downloaded(visitor.page, "SVG of Recall (sensitivity)")
        assert b"CNN_v1/W3" in svg
        assert b"best epoch" not in svg


def test_the_report_saves_its_plots_and_tables_without_a_server(
    browser: Browser, finished: Finished, tmp_path: Path
) -> None:
    first = finished.experiments[0]
    report = httpx.get(f"{finished.home}/v1/experiments/{first}/report", trust_env=False).raise_for_status()
    (tmp_path / "report.html").write_text(report.text, encoding="utf-8")
    with visit(browser, finished.home) as visitor:
        visitor.page.goto((tmp_path / "report.html").as_uri())
        expect(visitor.page.locator("#plot-roc .trace").first).to_be_attached()
        for kind, start in (("SVG", b"<svg"), ("PNG", b"\x89PNG"), ("CSV", b'"series"')):
            name, content = downloaded(visitor.page, f"{kind} of ROC curve")
            assert name == f"{first}-roc.{kind.lower()}"
            assert content.startswith(start)
        name, _ = downloaded(visitor.page, "CSV of Trials, best first by the selection rule")
        assert name == f"{first}-trials-best-first-by-the-selection-rule.csv"
        assert visitor.is_clean()
