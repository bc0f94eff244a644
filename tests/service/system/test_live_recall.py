"""Live recall and its alert on the system page, in the API and in the metrics."""

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.monitoring import counting
from tests.verified_predictions import IN_DOUBT, KEPT, Group, promise, store_verified

MakeModel = Callable[..., str]
Counted = Callable[..., str]
WITHHELD: tuple[Group, ...] = (("malignant", "malignant", 40), ("benign", "benign", 5), ("benign", None, 95))


@pytest.fixture
def counted(database: Database, make_model: MakeModel) -> Counted:
    """Makes a champion with these predictions and outcomes, counts them, and returns its version."""

    def count(groups: tuple[Group, ...]) -> str:
        version = make_model(promote=True)
        promise(database, version)
        store_verified(database, version, groups)
        with database.write() as session:
            counting.count(session, version)
        return version

    return count


def metrics(client: TestClient) -> dict[tuple[str, ...], float]:
    """Values of the metrics of live recall, by name and labels but the version."""
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "version")): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        if family.name.startswith(("dermatriage_live", "dermatriage_verified", "dermatriage_promise"))
        for sample in family.samples
    }


def test_system_without_outcomes_shows_how_to_record_one(client: TestClient) -> None:
    assert client.get("/v1/system").json()["recalls"] == []
    assert "dermatriage outcome ID malignant" in client.get("/system").text
    assert metrics(client) == {}


@pytest.mark.both_databases
def test_promise_in_doubt_is_shown_everywhere(client: TestClient, counted: Counted) -> None:
    version = counted(IN_DOUBT)
    (live,) = client.get("/v1/system").json()["recalls"]
    assert (live["version"], live["estimate"]["recall"], live["target_recall"]) == (version, 0.5, 0.9)
    assert live["benign"] == {"images": 100, "verified": 100, "malignant": 40}
    assert live["evidence"] > live["alert_at"] == pytest.approx(20)
    assert live["in_doubt_since"] is not None

    page = client.get("/system").text
    assert "promise in doubt" in page
    assert "The promise of this model has been in doubt since" in page
    assert all(sentence in page for sentence in live["sentences"])

    assert metrics(client) == {
        ("dermatriage_live_recall", "estimate"): 0.5,
        ("dermatriage_live_recall", "low"): live["estimate"]["low"],
        ("dermatriage_live_recall", "high"): live["estimate"]["high"],
        ("dermatriage_verified_share", "malignant"): 1.0,
        ("dermatriage_verified_share", "benign"): 1.0,
        ("dermatriage_promise_evidence",): live["evidence"],
        ("dermatriage_promise_in_doubt",): 1.0,
    }


def test_promise_that_is_kept_raises_no_alert(client: TestClient, counted: Counted) -> None:
    counted(KEPT)
    page = client.get("/system").text
    assert "Live recall is 0.950" in page
    assert "promise in doubt" not in page
    assert metrics(client)["dermatriage_promise_in_doubt",] == 0


def test_recall_is_withheld_in_words_where_few_benign_calls_are_verified(client: TestClient, counted: Counted) -> None:
    counted(WITHHELD)
    page = client.get("/system").text
    assert "5 of 100 images called benign (5.0 %)" in page
    assert "Recall is withheld" in page
    assert "1.000" not in page
    assert {name for name, *_ in metrics(client)} == {"dermatriage_verified_share", "dermatriage_promise_in_doubt"}
