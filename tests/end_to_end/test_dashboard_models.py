"""Results, models, predictions and the system in a real browser, with fabricated experiments."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from migrations import migrated
from models_store.datasets.labels import CLASS_NAMES
from models_store.store import registry
from models_store.store.storage import Storage
from models_store.wording import DIAGNOSES, rate
from service.models.validation import outcome
from tests.diagnosing_network import diagnosing_network
from tests.end_to_end.browser import DESKTOP, PHONE, Visit, visit
from tests.end_to_end.serving import served
from tests.end_to_end.stack import eventually
from tests.finished_experiment import a_final_record, a_spec, store_finished
from tests.populated_service import populate

PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)

# Each colour scheme and each width once: the accessibility check takes seconds per page.
EVERYWHERE = [pytest.param(DESKTOP, "light", id="desktop-light"), pytest.param(PHONE, "dark", id="phone-dark")]
DROP = """([bytes, name]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
  }
}"""
PASTE = """([bytes, name]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: files, bubbles: true }));
}"""
SAME_ARITHMETIC = """async ({ scores, malignant, lowest, stops, prevalences }) => {
  const maths = await import(document.body.dataset.module);
  return stops.flatMap((stop) => prevalences.map((share) => {
    const counts = maths.outcome(scores, malignant, stop);
    return [maths.recall(counts), maths.specificity(counts),
      maths.missedCancers(counts, share, 1000), maths.extraBiopsies(counts, share, 1000),
      maths.missedLesions(lowest, stop)];
  }));
}"""


@dataclass(frozen=True)
class Gallery:
    """A server with three finished experiments; the first one's model is the champion."""

    home: str
    experiments: list[str]

    @property
    def result(self) -> str:
        return f"/experiments/{self.experiments[0]}/result"


@pytest.fixture(scope="module")
def gallery(browser: Browser, broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("gallery")
    url = f"sqlite:///{folder}/gallery.db"
    with migrated(url) as database:
        experiments = populate(database, Storage(str(folder / "store")), broker_url, folder / "bundles")
    with served(folder, url, broker_url=broker_url) as home:
        yield Gallery(home, experiments)


@pytest.fixture(scope="module")
def diagnosing(browser: Browser, broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose champion predicts diagnoses."""
    assert browser.is_connected()
    folder = tmp_path_factory.mktemp("diagnosing")
    url = f"sqlite:///{folder}/diagnosing.db"
    with migrated(url) as database, database.write() as session:
        storage, final = Storage(str(folder / "store")), a_final_record(images=200)
        experiment = store_finished(session, storage, folder / "bundle", a_spec(), final, diagnosing_network())
        registry.promote(session, f"mdl_{experiment}", actor="test", reason="to answer")
    with served(folder, url, broker_url=broker_url) as home:
        yield home


@pytest.fixture
def visitor(browser: Browser, gallery: Gallery) -> Iterator[Visit]:
    """Checks after the test that the console has no errors and that no request went to another host."""
    with visit(browser, gallery.home) as visitor:
        yield visitor
        assert visitor.is_clean()


def picture(darkness: int, side: int = 40) -> bytes:
    pixels = np.full((side, side + 30, 3), (210, 170, 160), np.uint8)
    pixels[side // 3 : -side // 3, side // 3 + 15 : -side // 3 - 15] = (255 - darkness, 120 - darkness // 4, 90)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def figures(page: Page) -> list[str]:
    return [page.locator(f"#t-{name}").inner_text() for name in ("recall", "specificity", "missed", "extra")]


def test_slider_starts_at_the_chosen_threshold_with_the_recorded_values(visitor: Visit, gallery: Gallery) -> None:
    page = visitor.page
    visitor.open(gallery.result)
    validation = httpx.get(f"{gallery.home}/v1/models/mdl_{gallery.experiments[0]}/validation", trust_env=False).json()
    recorded = validation["recorded"]
    expect(page.locator("#threshold")).to_be_enabled()
    at_chosen = figures(page)
    assert at_chosen[:2] == [rate(recorded["recall"]), rate(recorded["specificity"])]
    assert float(at_chosen[2]) == pytest.approx(50 * (1 - recorded["recall"]), abs=0.051)
    assert float(at_chosen[3]) == pytest.approx(950 * (1 - recorded["specificity"]), abs=0.501)
    # When the threshold is moved with the keyboard
    page.locator("#threshold").focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    moved = figures(page)
    assert float(moved[0]) < float(at_chosen[0])
    assert float(moved[1]) > float(at_chosen[1])
    assert "more missed cancers" in page.locator("#t-compared").inner_text()
    assert "recall" in str(page.locator("#threshold").get_attribute("aria-valuetext"))
    here = page.evaluate("document.getElementById('t-roc').data[3]")
    assert here["y"][0] == pytest.approx(float(moved[0]), abs=5e-4)
    # When more patients have cancer
    page.get_by_label("Patients with cancer, in %").fill("20")
    assert float(figures(page)[2]) == pytest.approx(4 * float(moved[2]), abs=0.3)
    # When it is reset
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Patients with cancer, in %").fill("5")
    assert figures(page) == at_chosen
    assert page.locator("#t-compared").inner_text() == "This is the chosen threshold."


def test_slider_computes_the_same_as_the_server(visitor: Visit, gallery: Gallery) -> None:
    visitor.open(gallery.result)
    expect(visitor.page.locator("#threshold")).to_be_enabled()
    data = visitor.page.evaluate("JSON.parse(document.getElementById('tradeoff-data').textContent)")
    cases: list[dict[str, Any]] = [
        {**{name: data[name] for name in ("scores", "malignant", "stops")}, "prevalences": [0.01, 0.05, 0.5]},
        {"scores": [0.1, 0.2, 0.2, 0.6], "malignant": [False, True, False, True], "stops": [0, 0.2, 0.21, 1]},
        {"scores": [0.4], "malignant": [True], "stops": [0.4, 0.5]},
    ]
    for case in cases:
        case.setdefault("prevalences", [0.0, 1.0])
        case.setdefault("lowest", data["lowest_of_lesions"])
        expected = []
        for stop in case["stops"]:
            found = outcome(case["scores"], case["malignant"], stop)
            missed = sum(score < stop for score in case["lowest"])
            for share in case["prevalences"]:
                rates = [found.recall, found.specificity, found.missed_cancers(share), found.extra_biopsies(share)]
                expected.append([*rates, missed])
        assert visitor.page.evaluate(SAME_ARITHMETIC, case) == expected


def listed(client: httpx.Client, **params: str) -> dict[str, Any]:
    """One recorded prediction, the newest or that after the cursor."""
    page: dict[str, Any] = client.get("/v1/predictions", params={"limit": 1, **params}).json()
    return page


def test_a_clinician_reads_the_result_with_its_limits_and_the_difference_to_another_model(
    visitor: Visit, gallery: Gallery
) -> None:
    page, (first, second, _) = visitor.page, gallery.experiments
    visitor.open(gallery.result)
    expect(page.locator(".notice", has_text="New lesions.").first).to_contain_text(
        "these figures do not speak for new lesions"
    )
    guarantee = page.locator(".card", has=page.get_by_role("heading", name="Guarantee", exact=True))
    expect(guarantee).to_contain_text("are called malignant on every image")
    expect(page.get_by_text("Not promoted: ")).to_be_visible()
    expect(page.locator("#plot-decision-curve .trace").first).to_be_attached()
    page.locator("summary", has_text="By diagnosis").click()
    for table, diagnosis in (("Malignant diagnoses: sensitivity", "mel"), ("Benign diagnoses: specificity", "nv")):
        expect(page.get_by_role("table", name=table)).to_contain_text(DIAGNOSES[diagnosis])
    page.get_by_role("link", name="Report", exact=True).click()
    expect(page.get_by_role("heading", name="Summary")).to_be_visible()
    visitor.open(f"/models/compare?a=mdl_{first}&b=mdl_{second}")
    expect(page.locator("main")).to_contain_text("McNemar")
    expect(page.locator("main")).to_contain_text("DeLong")


def test_a_developer_is_told_what_was_meant_and_how_much_more_may_be_asked_and_reads_the_record(
    visitor: Visit, gallery: Gallery
) -> None:
    with httpx.Client(base_url=gallery.home, trust_env=False) as client:
        problem = client.post("/v1/experiments", json={"dataset": "synthetic", "epoch": 3}).json()
        assert "did you mean `epochs`?" in problem["detail"]
        answers = [
            client.post("/v1/predict", content=picture(darkness), headers={"Content-Type": "image/png"})
            for darkness in (10, 240)
        ]
        assert [answer.json()["label"] for answer in answers] == ["benign", "malignant"]
        assert re.fullmatch(r'"requests";r=\d+;t=\d+', answers[0].headers["RateLimit"])
        assert re.fullmatch(r'"requests";q=\d+;w=60', answers[0].headers["RateLimit-Policy"])
        older, newer = (answer.json()["prediction_id"] for answer in answers)
        eventually(lambda: listed(client)["items"][0]["id"] == newer, what="the record of a prediction")
        assert listed(client, cursor=listed(client)["next_cursor"])["items"][0]["id"] == older
    visitor.open(problem["type"])
    expect(visitor.page.get_by_role("heading", name=problem["title"])).to_be_visible()
    expect(visitor.page.get_by_role("heading", name="What to do")).to_be_visible()


def test_bundle_and_card_can_be_downloaded(visitor: Visit, gallery: Gallery) -> None:
    visitor.open(f"/models/mdl_{gallery.experiments[0]}")
    for name, suffix in (("Download card", ".md"), ("Download bundle", ".zip")):
        with visitor.page.expect_download() as download:
            visitor.page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == f"mdl_{gallery.experiments[0]}{suffix}"


def test_two_models_are_compared_and_one_is_promoted_with_a_reason_and_rolled_back(
    visitor: Visit, gallery: Gallery
) -> None:
    page, other = visitor.page, f"mdl_{gallery.experiments[2]}"
    visitor.open("/models")
    page.get_by_label("A", exact=True).select_option(f"mdl_{gallery.experiments[0]}")
    page.get_by_label("B", exact=True).select_option(other)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("Both were tested on the same images")).to_be_visible()
    expect(page.locator(".plot .trace")).to_have_count(9)
    page.get_by_role("heading", name="B: ").get_by_role("link").click()
    page.get_by_label("Reason").fill("fewer alarms on the ward")
    page.get_by_role("button", name="Promote").click()
    page.wait_for_url("**/models#history")
    first = page.locator("#history tbody tr").first
    expect(first).to_contain_text("fewer alarms on the ward")
    expect(first).to_contain_text(other)
    # When it is rolled back
    page.get_by_text("Roll back to the previous champion").click()
    page.get_by_label("Reason").fill("it was a test")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator("#history tbody tr").first).to_contain_text("rolled back")
    expect(page.locator("section", has=page.locator("#h-champion"))).to_contain_text(f"mdl_{gallery.experiments[0]}")


@pytest.mark.parametrize("way", [DROP, PASTE], ids=["dropped", "pasted"])
def test_an_image_is_classified_with_its_heatmap(visitor: Visit, way: str) -> None:
    page = visitor.page
    visitor.open("/try")
    expect(page.locator("body[data-ready]")).to_be_attached()
    page.evaluate(way, [list(picture(240)), "dark spot.png"])
    expect(page.locator("#label")).to_have_text("malignant")
    expect(page.locator("#picture-name")).to_have_text("dark spot.png")
    assert page.evaluate("document.getElementById('heat').naturalWidth") == 224
    expect(page.locator("#heat")).to_be_visible()
    # The picture is not empty, and the mark is at the threshold.
    assert (
        page.evaluate("document.getElementById('picture').getContext('2d').getImageData(224, 224, 1, 1).data[3]") == 255
    )
    threshold = float(page.locator("#threshold").inner_text().split(":")[0])
    assert page.evaluate("parseFloat(document.getElementById('mark').style.left)") == pytest.approx(
        100 * threshold, abs=0.01
    )
    expect(page.locator("#guarantee")).to_contain_text("confidence")
    expect(page.locator("#unlikeness")).to_contain_text("99 % of validation images are below 1")
    expect(page.locator("#diagnoses")).to_be_hidden()  # this model predicts none
    # When the heatmap is weakened and hidden
    page.get_by_label("Heatmap strength").fill("30")
    assert page.evaluate("document.getElementById('heat').style.opacity") == "0.3"
    page.get_by_label("Heatmap", exact=True).uncheck()
    expect(page.locator("#heat")).to_be_hidden()
    assert visitor.accessibility_violations() == []


@pytest.mark.parametrize(("device", "colours"), EVERYWHERE)
def test_diagnoses_are_a_table_whose_malignant_rows_are_marked(
    browser: Browser, diagnosing: str, device: dict[str, Any], colours: str
) -> None:
    with visit(browser, diagnosing, colours=colours, **device) as visitor:
        page = visitor.page
        visitor.open("/try")
        expect(page.locator("body[data-ready]")).to_be_attached()
        page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": picture(120)})
        table = page.get_by_role("region", name="Probability by diagnosis").get_by_role("table")
        expect(table).to_be_visible()
        names = table.get_by_role("rowheader").all_inner_texts()
        assert [name.split("\n")[0].removesuffix(" malignant") for name in names] == [
            f"{DIAGNOSES[name]} ({name})" for name in CLASS_NAMES
        ]
        shown = [float(value) for value in table.locator("tbody td").all_inner_texts()]
        malignant = [float(value) for value in table.locator("tr:has(.badge) td").all_inner_texts()]
        assert sum(shown) == pytest.approx(1, abs=4e-4)
        assert len(malignant) == 3
        stated = float(page.locator("#malignant-sum").inner_text())
        assert sum(malignant) == pytest.approx(stated, abs=2e-4)
        assert stated == float(page.locator("#probability").inner_text())
        widths = page.locator("#diagnosis-rows .fill").evaluate_all(
            "bars => bars.map((bar) => bar.offsetWidth / bar.parentElement.clientWidth)"
        )
        assert widths == pytest.approx(shown, abs=0.01)
        assert visitor.accessibility_violations() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert visitor.is_clean()


def test_csv_of_many_images_has_a_column_for_each_diagnosis(browser: Browser, diagnosing: str) -> None:
    with visit(browser, diagnosing) as visitor:
        visitor.open("/try")
        expect(visitor.page.locator("body[data-ready]")).to_be_attached()
        files: list[Any] = [
            {"name": "spot.png", "mimeType": "image/png", "buffer": picture(120)},
            {"name": "notes.txt", "mimeType": "image/png", "buffer": b"no image"},
        ]
        visitor.page.set_input_files("#files", files)
        expect(visitor.page.locator("#csv")).to_be_enabled()
        with visitor.page.expect_download() as download:
            visitor.page.get_by_role("button", name="Download CSV").click()
        spot, notes = csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8")))
        malignant = sum(float(spot[name]) for name in ("akiec", "bcc", "mel"))
        assert malignant == pytest.approx(float(spot["probability_malignant"]), abs=1e-6)
        assert {notes[name] for name in CLASS_NAMES} == {""}
        assert visitor.is_clean()


def test_many_images_become_a_table_and_a_csv(visitor: Visit) -> None:
    page = visitor.page
    visitor.open("/try")
    expect(page.locator("body[data-ready]")).to_be_attached()
    files: list[Any] = [
        {"name": f"spot {darkness}.png", "mimeType": "image/png", "buffer": picture(darkness)}
        for darkness in (10, 120, 240)
    ]
    files.append({"name": "=1+1.png", "mimeType": "image/png", "buffer": b"no image"})
    page.set_input_files("#files", files)
    expect(page.locator("#csv")).to_be_enabled()
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(3)).to_contain_text("not classified")
    expect(page.locator("#batch-summary")).to_contain_text("4 images:")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    table = list(csv.DictReader(io.StringIO(download.value.path().read_text(encoding="utf-8"))))
    assert [row["file"] for row in table] == ["spot 10.png", "spot 120.png", "spot 240.png", "'=1+1.png"]
    assert [float(row["probability_malignant"]) for row in table[:3]] == sorted(
        float(row["probability_malignant"]) for row in table[:3]
    )
    assert table[2]["label"] == "malignant"
    assert "not an image" in table[3]["problem"]


def test_what_is_no_image_is_refused_with_a_remedy(browser: Browser, gallery: Gallery) -> None:
    with visit(browser, gallery.home) as visitor:
        visitor.open("/try")
        expect(visitor.page.locator("body[data-ready]")).to_be_attached()
        visitor.page.set_input_files("#files", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
        expect(visitor.page.get_by_role("alert")).to_contain_text("Send one PNG, JPEG")
        # The browser itself logs the error response; there are no other errors.
        assert len(visitor.errors) == 1
        assert "415" in visitor.errors[0]
        assert visitor.foreign_requests == []


def test_a_generated_example_can_be_tried(visitor: Visit) -> None:
    visitor.open("/try")
    expect(visitor.page.locator("body[data-ready]")).to_be_attached()
    visitor.page.get_by_role("button", name="generated melanoma").click()
    expect(visitor.page.locator("#answer")).to_be_visible()
    expect(visitor.page.locator("#picture-name")).to_have_text("generated-mel.png")


def test_system_page_draws_its_days_and_updates_itself(visitor: Visit) -> None:
    page = visitor.page
    page.clock.install()
    visitor.open("/system")
    expect(page.locator(".plot .trace, .plot .points").first).to_be_attached()
    expect(page.locator("#live")).to_contain_text("gpu-1:4711")
    page.evaluate("document.querySelector('#live .soft').textContent = 'old'")
    with page.expect_response("**/system"):
        page.clock.fast_forward(11_000)
    expect(page.locator("#live .soft").first).to_contain_text("As of")


@pytest.mark.parametrize(("device", "colours"), EVERYWHERE)
def test_every_page_is_accessible_and_fits_the_screen(
    browser: Browser, gallery: Gallery, device: dict[str, Any], colours: str
) -> None:
    first, second, _ = gallery.experiments
    pages = [gallery.result, "/models", f"/models/mdl_{second}", f"/models/compare?a=mdl_{first}&b=mdl_{second}"]
    with visit(browser, gallery.home, colours=colours, **device) as visitor:
        experiments = ("/", f"/experiments/compare?id={first}&id={second}", "/experiments/new")
        for path in (*pages, "/try", "/system", *experiments):
            visitor.open(path)
            for plot in visitor.page.locator(".plot").all():
                expect(plot.locator(".trace, .points").first, path).to_be_attached()
            assert visitor.accessibility_violations() == [], path
            assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert visitor.is_clean()
