"""The results page is the record, held against the published run, and honest about the goal."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.published import EARLIER_LOOKS, PUBLISHED, comparability, published_figures
from benchmarks.results import main
from migrations import migrated
from models_store import wording
from models_store.database import Database
from models_store.settings import Settings
from models_store.store import bundles
from models_store.store.storage import Storage
from models_store.tables import Model
from tests.finished_experiment import COLLAPSE, FinalRecord, a_final_record, a_spec, store_experiment, store_finished
from workers.pipeline.evaluation.intervals import clopper_pearson

Write = Callable[[FinalRecord], tuple[int, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path}/results.db"
    return Settings(database_url=url, store_url=str(tmp_path / "store"), _env_file=None)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    with migrated(settings.database_url) as database:
        yield database


@pytest.fixture(scope="module")
def final() -> FinalRecord:
    return a_final_record()


@pytest.fixture
def write(database: Database, settings: Settings, tmp_path: Path) -> Write:
    """Stores a finished experiment, writes its page beside the tests, and gives the exit status and the page."""

    def stored(final: FinalRecord) -> tuple[int, str]:
        with database.write() as session:
            experiment_id = store_finished(
                session, Storage(settings.store_url), tmp_path / "bundle", a_spec(name="laptop"), final
            )
        out = tmp_path / "results.md"
        status = main([experiment_id, "--out", str(out)], settings)
        return status, out.read_text(encoding="utf-8") if out.exists() else ""

    return stored


def table(page: str, head: str) -> list[list[str]]:
    lines = page[page.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def with_rates(final: FinalRecord, **rates: Any) -> FinalRecord:
    return replace(final, evaluation=final.evaluation | rates)


def test_every_figure_equals_the_record_recall_first(write: Write, final: FinalRecord) -> None:
    status, page = write(final)
    assert status == 0
    rows = table(page, "Test figure (95 % interval)")
    assert [row[0] for row in rows] == [wording.FIGURES[name] for name in wording.AT_THE_SAMPLE]
    for name, row in zip(wording.AT_THE_SAMPLE, rows, strict=True):
        shown = [float(number) for number in re.findall(r"\d\.\d{3}", row[1])]
        interval = final.evaluation["intervals"][name]
        recorded = [final.evaluation[name], interval["low"], interval["high"]]
        assert shown == pytest.approx(recorded, abs=5e-4)


def test_the_page_names_data_machine_seed_and_commit(write: Write, final: FinalRecord) -> None:
    _, page = write(final)
    for needed in (
        final.about["dataset"],
        final.about["dataset_sha256"],
        "| seed | `42` |",
        "| host | `fabricated` |",
        "| commit | `0123456789abcdef0123456789abcdef01234567` |",
        final.calibration["guarantee"]["sentence"],
        f"Threshold {final.calibration['threshold']}.",
    ):
        assert needed in page


def test_every_trial_is_there_and_the_lost_ones_say_why(write: Write, final: FinalRecord) -> None:
    _, page = write(final)
    trials = table(page, "Trial | Phase | Ended")
    assert [row[0] for row in trials] == [
        "CNN_v1/W3",
        "CNN_v2/W3",
        "VGG_v3/W3",
        "EffNet_v2/W3",
        "CNN_v1/HighDropout",
        "**CNN_v1/LowLR**",
    ]
    assert f"- CNN_v2/W3 collapsed: {COLLAPSE}" in page


def test_the_published_run_is_what_its_counts_say() -> None:
    published = published_figures()
    recall, specificity = clopper_pearson(359, 392), clopper_pearson(1026, 1613)
    assert published["recall"] == f"0.916 ({recall.low:.3f} to {recall.high:.3f}; 359 of 392)"
    assert published["specificity"] == f"0.636 ({specificity.low:.3f} to {specificity.high:.3f}; 1,026 of 1,613)"
    assert published["roc_auc"] == "0.877"
    assert (PUBLISHED.tp + PUBLISHED.fn, PUBLISHED.tn + PUBLISHED.fp) == (392, 1613)


@pytest.mark.parametrize(
    ("recall", "specificity", "answer"),
    [
        (0.90, 0.637, "**Reached.**"),
        (0.899, 0.70, "**Not reached.**"),
        (0.95, 0.636, "**Not reached.**"),
    ],
)
def test_the_goal_is_reached_only_by_both_figures(
    write: Write, final: FinalRecord, recall: float, specificity: float, answer: str
) -> None:
    _, page = write(with_rates(final, recall=recall, specificity=specificity))
    assert answer in page
    assert f"- test recall at least 0.90: **{'yes' if recall >= 0.9 else 'no'}**" in page
    assert f"- test specificity above 0.636: **{'yes' if specificity > 0.636 else 'no'}**" in page


def test_the_goal_is_not_reached_where_the_guarantee_does_not_hold(write: Write, final: FinalRecord) -> None:
    guarantee = final.calibration["guarantee"] | {"holds": False}
    void = replace(
        with_rates(final, recall=0.95, specificity=0.8), calibration=final.calibration | {"guarantee": guarantee}
    )
    _, page = write(void)
    assert "**Not reached.**" in page
    assert "and the guarantee holds: **no**" in page


def test_a_recall_whose_interval_begins_below_the_goal_is_not_called_proven(write: Write, final: FinalRecord) -> None:
    _, page = write(final)
    assert final.evaluation["recall"] >= 0.9 > final.evaluation["intervals"]["recall"]["low"]
    assert "this test set alone does not prove a recall of 0.90" in page


@pytest.mark.parametrize(
    ("dataset", "malignant", "images", "words"),
    [
        ("dermamnist", 392, 2005, "Both columns are on the official file"),
        ("ham10000_28", 392, 2005, "Comparable with, **not equal to**"),
        ("elsewhere", 114, 600, "**Not comparable:**"),
    ],
)
def test_the_page_says_how_far_the_columns_compare(dataset: str, malignant: int, images: int, words: str) -> None:
    assert words in comparability(dataset, {"malignant_images": malignant, "images": images})


def test_synthetic_figures_are_never_written(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert write(a_final_record(synthetic=True)) == (1, "")
    assert "is generated: its figures are no results" in capsys.readouterr().err


def test_an_unfinished_or_unknown_experiment_is_refused(
    database: Database, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.write() as session:
        running = store_experiment(session, a_spec(), "running", 1).id
    for experiment_id, words in (
        (running, "is running and has no test figures"),
        ("exp_nobody", "there is no experiment"),
    ):
        assert main([experiment_id, "--out", str(tmp_path / "results.md")], settings) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "results.md").exists()


def test_a_store_that_tells_other_figures_is_refused(
    database: Database, settings: Settings, tmp_path: Path, final: FinalRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a bundle whose figures differ from the database's
    with database.write() as session:
        experiment_id = store_finished(session, Storage(settings.store_url), tmp_path / "bundle", a_spec(), final)
        model = session.query(Model).filter_by(experiment_id=experiment_id).one()
        model.metrics = final.evaluation | {"recall": 1.0}
    # When its page is asked for
    status = main([experiment_id, "--out", str(tmp_path / "results.md")], settings)
    # Then there is none
    assert status == 1
    assert "differs from the database" in capsys.readouterr().err
    assert not (tmp_path / "results.md").exists()


def test_a_bundle_changed_in_the_store_is_refused(
    database: Database, settings: Settings, tmp_path: Path, final: FinalRecord
) -> None:
    with database.write() as session:
        experiment_id = store_finished(session, Storage(settings.store_url), tmp_path / "bundle", a_spec(), final)
    metrics = tmp_path / "store" / "models" / f"mdl_{experiment_id}" / "metrics.json"
    bundles.write_json(metrics, final.evaluation | {"recall": 1.0})
    with pytest.raises(Exception, match="sha256"):
        main([experiment_id, "--out", str(tmp_path / "results.md")], settings)


def test_earlier_looks_at_the_same_test_set_are_told(write: Write, final: FinalRecord) -> None:
    # Given an experiment on a data set that was looked at before, and one on another
    _, looked_at = write(replace(final, about=final.about | {"dataset": "ham10000_28"}))
    _, fresh = write(final)

    # Then only the first page tells of it
    (look, *_) = EARLIER_LOOKS["ham10000_28"]
    assert look in looked_at
    assert "Looks at this test set" not in fresh
