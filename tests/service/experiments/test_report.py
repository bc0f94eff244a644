"""The report of an experiment in any state: every value is from the record, and nothing is loaded from elsewhere."""

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from migrations import migrated
from models_store import wording
from models_store.database import Database
from models_store.experiment import phases
from models_store.runs import ExperimentNotFound
from models_store.store.storage import Storage
from models_store.tables import Experiment, Model, Trial
from models_store.wording import estimates
from service.presentation.experiment import ranked
from service.report import REPORT_POLICY, report_page
from tests.finished_experiment import (
    COLLAPSE,
    LATER,
    FinalRecord,
    a_final_record,
    a_spec,
    store_experiment,
    store_finished,
    store_trial,
)

LOADING = {"src", "srcset", "poster", "data", "background", "action", "formaction"}
CHROMIUM = Path("/usr/bin/chromium")


class Page(HTMLParser):
    """Tables by caption, attributes that load something, scripts, and text alternatives."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.plots: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self._caption = self._row = self._cell = None  # type: ignore[assignment]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [named["id"]] if named.get("id") else []
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        if tag == "a":
            self.targets.append(named["href"] or "")
        elif tag == "link":
            self.loads.append(named.get("href") or "")
        elif tag == "img":
            self.images.append(named)
        elif tag == "div" and named.get("class") == "plot":
            self.plots.append(named)
        elif tag == "caption":
            self._caption = ""
        elif tag == "tr":
            self._row: list[str] | None = []
        elif tag in ("th", "td"):
            self._cell: str | None = ""

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell += data
        elif self._caption is not None and self._row is None:
            self._caption += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td") and self._row is not None and self._cell is not None:
            self._row.append(" ".join(self._cell.split()))
            self._cell = None
        elif tag == "tr" and self._row is not None:
            self.tables.setdefault(str(self._caption).strip(), []).append(self._row)
            self._row = None


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with migrated(f"sqlite:///{tmp_path_factory.mktemp('report')}/report.db") as database:
        yield database


@pytest.fixture(scope="module")
def final() -> FinalRecord:
    return a_final_record()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture(scope="module")
def finished(database: Database, tmp_path_factory: pytest.TempPathFactory, final: FinalRecord) -> str:
    """The report of a finished experiment with a hostile name; no other experiment has opened its test set."""
    folder = tmp_path_factory.mktemp("finished")
    storage, spec = Storage(str(folder / "store")), a_spec(name="<script>alert('x')</script>")
    with database.write() as session:
        experiment_id = store_finished(session, storage, folder / "bundle", spec, final)
        session.get_one(Experiment, experiment_id).submitted_by = "ci <key>"
        page = report_page(session, storage, folder / "cache", experiment_id)
        session.rollback()
    return page


def reported(database: Database, storage: Storage, tmp_path: Path, **changes: Any) -> str:
    record = {name: changes.pop(name) for name in ("synthetic", "lesions", "people", "architecture") if name in changes}
    spec = a_spec(**changes)
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", spec, a_final_record(spec, **record))
        page = report_page(session, storage, tmp_path / "cache", experiment_id)
        session.rollback()
    return page


def flags(page: str) -> list[str]:
    return [html.unescape(flag) for flag in re.findall(r'<p class="flag" role="note"><strong>([^<]*)</strong>', page)]


def test_every_test_figure_equals_the_record_recall_first(finished: str, final: FinalRecord) -> None:
    _, *rows = Page(finished).tables["All test images at the chosen threshold"]
    assert rows[0][0] == "Recall (sensitivity)"
    assert [row[0] for row in rows] == [wording.FIGURES[name] for name in wording.AT_THE_SAMPLE]
    for name, row in zip(wording.AT_THE_SAMPLE, rows, strict=True):
        assert float(row[1]) == pytest.approx(final.evaluation[name], abs=5e-4)
        limits = [float(limit) for limit in row[2].split(" to ")]
        recorded = final.evaluation["intervals"][name]
        assert limits == pytest.approx([recorded["low"], recorded["high"]], abs=5e-4)


def test_the_report_names_who_submitted_and_whether_the_model_was_promoted(finished: str) -> None:
    assert "UTC by ci &lt;key&gt;, started" in finished
    assert "Not promoted: does not beat &lt;mdl_0&gt; by f2." in finished


def test_both_confusion_matrices_equal_the_record(finished: str, final: FinalRecord) -> None:
    tables = Page(finished).tables
    for caption, counts in (
        ("Confusion matrix, images", final.evaluation["confusion"]),
        ("Confusion matrix at the threshold 0.5, images", final.evaluation["at_half"]["confusion"]),
    ):
        shown = [cell.split()[0] for row in tables[caption][1:] for cell in row[1:]]
        assert shown == [str(counts[name]) for name in ("tp", "fn", "fp", "tn")]


@pytest.mark.parametrize(
    ("caption", "column", "part"),
    [
        ("The part without lesions that training saw, and all images", 1, "leak_free"),
        ("The part without lesions that training saw, and all images", 2, None),
        ("Both thresholds on all test images", 1, None),
        ("Both thresholds on all test images", 2, "at_half"),
    ],
)
def test_compared_figures_equal_the_record(
    finished: str, final: FinalRecord, caption: str, column: int, part: str | None
) -> None:
    record = final.evaluation[part] if part else final.evaluation
    shown = [float(row[column].split()[0]) for row in Page(finished).tables[caption][1:]]
    assert shown == pytest.approx([record[name] for name in wording.AT_THE_SAMPLE], abs=5e-4)


def test_diagnoses_equal_the_record_melanoma_first_and_benign_ones_apart(finished: str, final: FinalRecord) -> None:
    tables = Page(finished).tables
    malignant, benign = tables["Malignant diagnoses: sensitivity"], tables["Benign diagnoses: specificity"]
    assert (malignant[0][1], benign[0][1]) == ("Sensitivity", "Specificity")
    assert malignant[1][0] == "melanoma"
    recorded = [(wording.DIAGNOSES[d["diagnosis"]], wording.rate(d["rate"])) for d in final.evaluation["diagnoses"]]
    assert [(row[0], row[1]) for row in (*malignant[1:], *benign[1:])] == recorded
    assert len(malignant[1:]) == 3


def test_likelihood_ratios_calibration_and_net_benefit_equal_the_record(finished: str, final: FinalRecord) -> None:
    tables = Page(finished).tables
    shown = {row[0]: row[1:3] for row in tables["Likelihood ratios at the chosen threshold"]}
    shown |= {row[0]: row[1:3] for row in tables["Calibration on the test set"]}
    for label, name in (
        ("Positive likelihood ratio", "positive_likelihood_ratio"),
        ("Negative likelihood ratio", "negative_likelihood_ratio"),
        ("Calibration intercept", "calibration_intercept"),
        ("Calibration slope", "calibration_slope"),
    ):
        recorded = final.evaluation[name]
        assert float(shown[label][0]) == pytest.approx(recorded["value"], abs=5e-3)
        assert shown[label][1] == wording.interval(recorded["interval"], decimals=2)
    assert shown["Expected calibration error (ECE)"][1] == wording.interval(final.evaluation["ece_interval"])
    caption = "Net benefit per image at some threshold probabilities; treating none has 0"
    assert tables[caption][1] == list(estimates.net_benefit_rows(final.evaluation)[0])


def test_the_report_of_an_older_record_omits_what_it_lacks(
    database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    older = replace(final, evaluation={name: final.evaluation[name] for name in final.evaluation if name not in LATER})
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), older)
        page = report_page(session, storage, tmp_path / "cache", experiment_id)
        session.rollback()
    assert "Test results" in page
    for title in ("Likelihood ratios", "Decision curve", "Calibration slope", "Who is missed"):
        assert title not in page


def test_plots_draw_the_record(finished: str, final: FinalRecord) -> None:
    scripts = re.findall(r'data-plot="plot-([a-z_-]+)">(.*?)</script>', finished)
    drawn = {key: json.loads(figure)["data"] for key, figure in scripts}
    assert list(drawn)[:4] == ["val_recall", "val_specificity", "val_auc", "val_loss"]
    _chance, curve, half, chosen = drawn["roc"]
    assert curve["y"][1:] == [point["recall"] for point in final.evaluation["curve"]]
    assert (half["x"][0], half["y"][0]) == pytest.approx(
        (1 - final.evaluation["at_half"]["specificity"], final.evaluation["at_half"]["recall"])
    )
    assert (chosen["x"][0], chosen["y"][0]) == pytest.approx(
        (1 - final.evaluation["specificity"], final.evaluation["recall"])
    )
    # On the axis of 1 - specificity the interval's ends change sides.
    low = chosen["x"][0] - chosen["error_x"]["arrayminus"][0]
    assert 1 - low == pytest.approx(final.evaluation["intervals"]["specificity"]["high"])
    bins = drawn["reliability"][1]
    assert bins["y"] == [part["observed"] for part in final.evaluation["reliability"]]


def test_nothing_is_loaded_from_anywhere(finished: str) -> None:
    page = Page(finished)
    assert page.loads
    assert all(value.startswith("data:image/png;base64,") for value in page.loads)
    assert all(target.startswith(("#", "/experiments/")) for target in page.targets)
    style = finished.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert f'content="{REPORT_POLICY}"' in html.unescape(finished.split("<style>")[0])


def test_a_hostile_name_is_text(finished: str) -> None:
    assert "alert('x')" not in finished.replace("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;", "").replace(
        r"\u003cscript\u003ealert(\u0027x\u0027)", ""
    )
    assert "<h1>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</h1>" in finished


def test_plotly_is_inlined_once_and_every_plot_has_a_text_alternative(finished: str) -> None:
    page = Page(finished)
    assert finished.count("plotly.js v") == 1
    assert len(page.plots) == 10
    assert all(plot["role"] == "img" and len(str(plot["aria-label"])) > 30 for plot in page.plots)
    assert {target.removeprefix("#") for target in page.targets if target.startswith("#")} <= set(page.ids)
    headings = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3")]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))


def test_every_trial_is_listed_with_the_reason_of_a_failure(finished: str) -> None:
    rows = Page(finished).tables["Trials, best first by the selection rule"][1:]
    assert [row[0] for row in rows if row[2] == "collapsed"] == ["CNN_v2/W3"]
    assert [row[0] for row in rows if row[2] == "failed"] == ["VGG_v3/W3"]
    assert len(rows) == 6
    assert f"<strong>CNN_v2/W3</strong> (collapsed): {COLLAPSE}" in finished
    assert "<strong>VGG_v3/W3</strong> (failed): its process ended with signal 9" in finished


def test_trials_are_listed_in_the_order_of_the_policy(finished: str) -> None:
    rows = Page(finished).tables["Trials, best first by the selection rule"][1:]
    recalls = [float(row[3]) for row in rows if row[2] == "succeeded"]
    assert recalls == sorted(recalls, reverse=True)


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("val_recall", ["good", "weak", "blind", "running"]),
        ("val_recall_unguarded", ["blind", "good", "weak", "running"]),
    ],
)
def test_eligible_trials_rank_before_the_others(policy: Any, order: list[str]) -> None:
    # Given a trial with the highest recall and too little specificity
    recalls = {"running": None, "weak": (0.7, 0.8), "blind": (1.0, 0.0), "good": (0.9, 0.8)}
    trials = [
        Trial(
            id=name,
            name=name,
            kind="train",
            status="running" if values is None else "succeeded",
            metrics=values and {"val_recall": values[0], "val_specificity": values[1], "val_auc": 0.8},
        )
        for name, values in recalls.items()
    ]
    # When they are ranked by the policy of their experiment
    best_first = ranked(a_spec(selection={"policy": policy}), trials)
    # Then only the policy with a minimum specificity puts it last
    assert [trial.name for trial in best_first] == order


def test_guarantee_and_frozen_bundle_are_as_recorded(
    database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
        bundle_sha256 = session.query(Model).filter_by(experiment_id=experiment_id).one().bundle_sha256
        page = report_page(session, storage, tmp_path / "cache", experiment_id)
        session.rollback()
    assert final.calibration["guarantee"]["sentence"] in html.unescape(page)
    verdict = wording.verdict(final.calibration["guarantee"], final.evaluation).sentence
    assert verdict in page.split('id="summary"')[1].split("</section>")[0]
    assert bundle_sha256 in page
    assert str(final.calibration["threshold"]) in page
    assert "no other recorded experiment has opened this test set" in page
    assert "25 of 500 images for the threshold show a lesion that is also in train" in page
    assert flags(page) == ["New lesions."]


def test_a_second_opening_of_the_same_test_set_is_a_warning(
    database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    # Given two experiments that opened the same test set
    with database.write() as session:
        first = store_finished(session, storage, tmp_path / "first", a_spec(), final)
        store_finished(session, storage, tmp_path / "second", a_spec(), final)
        # When one of them is reported
        page = report_page(session, storage, tmp_path / "cache", first)
        session.rollback()
    # Then the reader is warned
    assert "Test set used more than once." in flags(page)
    assert "1 other experiment has opened the test set" in page


def test_misses_are_images_with_text_alternatives(finished: str, final: FinalRecord) -> None:
    images = Page(finished).images
    assert len(images) == len(final.misses) > 0
    for image, miss in zip(images, final.misses, strict=True):
        assert image["src"] == f"data:image/png;base64,{miss['png']}"
        assert base64.b64decode(miss["png"]).startswith(b"\x89PNG")
        assert f"test image {miss['index']}" in str(image["alt"])
        assert wording.DIAGNOSES[miss["diagnosis"]] in str(image["alt"])


def test_a_missing_bundle_removes_only_the_images(
    database: Database, storage: Storage, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), final)
        storage.delete(f"models/mdl_{experiment_id}")
        page = report_page(session, storage, tmp_path / "cache", experiment_id)
        session.rollback()
    assert "The images are not available." in flags(page)
    assert "is not in the store" in page
    assert "All test images at the chosen threshold" in page


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"synthetic": True}, "Synthetic data."),
        ({"weights": "none"}, "No ImageNet weights."),
        ({"calibration": {"reuse": True}}, "No guarantee."),
        ({"selection": {"policy": "val_recall_unguarded"}}, "Unguarded selection."),
    ],
)
def test_cautions_are_at_the_top(
    database: Database, storage: Storage, tmp_path: Path, changes: dict[str, Any], flag: str
) -> None:
    header = reported(database, storage, tmp_path, **changes).split("</header>")[0]
    assert flag in flags(header)


def test_without_lesion_ids_the_report_states_that_leakage_is_unknown(
    database: Database, storage: Storage, tmp_path: Path
) -> None:
    page = reported(database, storage, tmp_path, lesions=False)
    assert "It is unknown whether these figures speak for new lesions" in page


def test_the_report_offers_a_lesion_grouped_data_set_where_test_lesions_were_trained_on(
    finished: str, final: FinalRecord
) -> None:
    summary = finished.split('id="summary"')[1].split('<dl class="headline">')[0]
    assert f"{final.evaluation['leaking_images']} of 600 test images show a lesion that training saw" in summary
    assert "<code>dermatriage dataset split fabricated_28 --seed 0</code>" in summary
    assert "not an estimate for new lesions, because lesions photographed once are easier" in finished


def test_the_report_shows_who_is_missed_and_seven_diagnoses_where_they_are_recorded(
    finished: str, database: Database, storage: Storage, tmp_path: Path
) -> None:
    final = a_final_record(people=True)
    page = reported(database, storage, tmp_path, people=True)
    sex, age = final.evaluation["groupings"]
    assert f"The largest gap in recall is {sex['largest_recall_gap']:.3f}" in page
    tables = Page(page).tables
    young = tables["Recall and specificity by age group, exact 95 % intervals over images"][1]
    assert young[0] == f"{age['groups'][0]['group']} (too few images)"
    assert "too few to say anything about recall" in page
    counts = tables["Images by true diagnosis (rows) and most probable diagnosis (columns)"][1:]
    assert [[int(cell) for cell in row[1:]] for row in counts] == final.evaluation["seven"]["confusion"]
    assert "Who is missed" not in finished
    assert "Seven diagnoses" not in finished


@pytest.mark.parametrize(
    ("status", "phase", "error", "words"),
    [
        ("queued", 0, None, "Not started."),
        ("running", 1, None, "Still running."),
        ("failed", 2, {"kind": "TooFewMalignantImages", "message": "needs 29 <malignant> images"}, "Failed."),
        ("cancelling", 1, None, "Cancelled."),
        ("cancelled", 1, None, "Cancelled."),
        ("succeeded", 3, None, "Incomplete record."),
    ],
)
def test_an_unfinished_experiment_has_a_report_that_names_what_is_missing(
    database: Database,
    storage: Storage,
    tmp_path: Path,
    status: str,
    phase: int,
    error: dict[str, Any] | None,
    words: str,
) -> None:
    spec = a_spec()
    with database.write() as session:
        experiment: Experiment = store_experiment(session, spec, status, phase)
        experiment.error = error
        if phase:
            for position, (name, trial) in enumerate(phases.screening(spec).items()):
                state = ("succeeded", "running", "queued", "cancelled")[position % 4]
                store_trial(session, experiment, 1, position, name, trial, state)
        page = report_page(session, storage, tmp_path / "cache", experiment.id)
        session.rollback()
    assert flags(page)[0] == words
    assert "The test set is still sealed." in page
    assert "All test images" not in page
    assert ("Trials, best first by the selection rule" in page) is bool(phase)
    if error is not None:
        assert "TooFewMalignantImages: needs 29 &lt;malignant&gt; images" in page


def test_an_unknown_experiment_has_no_report(database: Database, storage: Storage, tmp_path: Path) -> None:
    with database.read() as session, pytest.raises(ExperimentNotFound, match="exp_nobody"):
        report_page(session, storage, tmp_path, "exp_nobody")


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_a_browser_draws_every_plot_without_errors_or_requests(
    finished: str, tmp_path: Path, scheme: str, width: int
) -> None:
    from playwright.sync_api import sync_playwright

    # Given the report as a file
    (tmp_path / "report.html").write_text(finished, encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        # When a browser opens it
        page.goto((tmp_path / "report.html").as_uri())
        page.wait_for_function("document.querySelectorAll('.plot .trace').length > 0")
        traces = page.evaluate("[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('.trace').length)")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        # When a trial is hidden with the keyboard
        page.focus("input[data-trial='0']")
        page.keyboard.press("Space")
        after = page.evaluate("document.querySelectorAll('#plot-val_recall .trace').length")
        # When it is printed
        page.emulate_media(media="print")
        breaks = page.evaluate("[...document.querySelectorAll('table')].map(t => getComputedStyle(t).breakInside)")
        rules = page.evaluate("[...document.styleSheets[0].cssRules].map(rule => rule.cssText)")
        browser.close()
    # Then every plot holds lines, the page fits, nothing else was requested; paper has page numbers and whole tables
    assert len(traces) == 10
    assert min(traces) >= 1
    assert overflow <= 0
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 29)")
    assert after < traces[0]
    assert set(breaks) == {"avoid"}
    assert any(rule.startswith("@page") and 'counter(page) " of " counter(pages)' in rule for rule in rules)
    assert [url for url in requests if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert errors == []
