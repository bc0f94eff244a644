"""Outcomes counted by month and label, and the alert that is raised once."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from models_store.database import Database
from models_store.monitoring import counting, outcomes
from models_store.monitoring.live_recall import Calls, Period
from models_store.monitoring.outcomes import Verified
from models_store.store.storage import Storage
from models_store.tables import LiveRecallRow, OutcomeRow, PredictionRow, RecallAlert
from tests.finished_experiment import a_final_record, a_spec, store_finished
from tests.verified_predictions import IN_DOUBT, KEPT, MOMENT, promise, store_verified

pytestmark = pytest.mark.both_databases
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def version(database: Database, tmp_path: Any) -> str:
    with database.write() as session:
        spec = a_spec()
        experiment_id = store_finished(
            session, Storage(str(tmp_path / "store")), tmp_path / "bundle", spec, a_final_record(spec)
        )
    version = f"mdl_{experiment_id}"
    promise(database, version)
    return version


def count(database: Database, version: str) -> RecallAlert | None:
    with database.write() as session:
        return counting.count(session, version)


def figures(database: Database, version: str) -> dict[str, Any]:
    with database.read() as session:
        return session.get_one(LiveRecallRow, version).figures


def correct(database: Database, prediction_id: str, outcome: str) -> None:
    with database.write() as session:
        verified = Verified(outcome, "second reading", MOMENT, None)
        outcomes.record(session, prediction_id, verified, replaces=1, actor="clinic")


def to_count(database: Database) -> list[str]:
    with database.read() as session:
        return counting.models_to_count(session)


def test_images_are_counted_by_month_and_label(database: Database, version: str) -> None:
    store_verified(database, version, [("malignant", "malignant", 2), ("malignant", None, 3), ("benign", "benign", 4)])
    store_verified(database, version, [("benign", "malignant", 1)], FEBRUARY)
    with database.read() as session:
        assert counting.periods(session, version) == [
            Period(malignant=Calls(5, 2, 2), benign=Calls(4, 4, 0)),
            Period(benign=Calls(1, 1, 1)),
        ]


def test_correction_counts_in_place_of_what_it_corrects(database: Database, version: str) -> None:
    (prediction_id,) = store_verified(database, version, [("benign", "malignant", 1)])
    correct(database, prediction_id, "benign")
    with database.read() as session:
        assert counting.periods(session, version) == [Period(benign=Calls(1, 1, 0))]


def test_prediction_that_is_deleted_takes_its_outcomes_with_it(database: Database, version: str) -> None:
    store_verified(database, version, [("benign", "benign", 2)])
    with database.write() as session:
        session.execute(delete(PredictionRow))
    with database.read() as session:
        assert session.scalars(select(OutcomeRow)).all() == []


def test_model_is_counted_after_each_outcome_and_again_after_an_hour(database: Database, version: str) -> None:
    assert to_count(database) == []
    first, _ = store_verified(database, version, [("benign", "malignant", 2)])
    assert to_count(database) == [version]
    count(database, version)
    assert to_count(database) == []
    correct(database, first, "benign")
    assert to_count(database) == [version]
    count(database, version)
    with database.write() as session:
        session.execute(update(LiveRecallRow).values(counted_at=datetime.now(UTC) - counting.COUNTED_FOR))
    assert to_count(database) == [version]


def test_model_whose_last_outcome_was_removed_is_counted_again(database: Database, version: str) -> None:
    store_verified(database, version, IN_DOUBT)
    count(database, version)
    with database.write() as session:
        session.execute(delete(PredictionRow))
    assert to_count(database) == [version]
    count(database, version)
    assert figures(database, version)["sentences"][0].startswith("Verified: 0 of 0 images called malignant")
    assert to_count(database) == []


def test_promise_in_doubt_raises_one_alert_that_stays(database: Database, version: str) -> None:
    ids = store_verified(database, version, IN_DOUBT)
    alert = count(database, version)
    assert alert is not None
    assert alert.figures["estimate"]["recall"] == pytest.approx(0.5)
    assert "is in doubt" in alert.figures["sentences"][-1]

    for prediction_id in ids[40:80]:
        correct(database, prediction_id, "benign")
    assert count(database, version) is None
    assert "is not in doubt" in figures(database, version)["sentences"][-1]
    with database.read() as session:
        assert len(session.scalars(select(RecallAlert)).all()) == 1


@pytest.mark.parametrize(
    ("groups", "guarantee", "expected"),
    [
        (KEPT, {}, ("Live recall is 0.950", "is not in doubt")),
        (IN_DOUBT, {"holds": False}, ("Live recall is 0.500", "promises no recall")),
        ((("malignant", "malignant", 100), ("benign", "malignant", 29)), {}, ("Recall is withheld", "is not tested")),
        (
            (("malignant", "benign", 30), ("benign", "benign", 30)),
            {},
            ("no verified image", "not in doubt"),
        ),
    ],
    ids=["kept", "nothing promised", "too few benign calls", "no malignant outcome"],
)
def test_no_alert_without_evidence_and_the_sentences_give_the_reason(
    database: Database, version: str, groups: Any, guarantee: dict[str, Any], expected: tuple[str, ...]
) -> None:
    promise(database, version, **guarantee)
    store_verified(database, version, groups)
    assert count(database, version) is None
    lines = " ".join(figures(database, version)["sentences"])
    assert all(words in lines for words in expected), lines


def test_sentences_name_the_correction_for_rarely_verified_benign_calls(database: Database, version: str) -> None:
    store_verified(
        database,
        version,
        [("malignant", "malignant", 80), ("benign", "malignant", 4), ("benign", "benign", 36), ("benign", None, 160)],
    )
    count(database, version)
    lines = figures(database, version)["sentences"]
    assert (
        lines[0] == "Verified: 80 of 80 images called malignant (100.0 %) and 40 of 200 images called benign (20.0 %)."
    )
    assert lines[1].startswith("Live recall is 0.800 (exact 95 % interval ")
    assert lines[2] == "It is corrected for the shares verified; among verified images alone it is 0.952."
    assert lines[3].startswith("The correction assumes")
