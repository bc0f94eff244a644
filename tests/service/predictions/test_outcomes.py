"""What lesions turned out to be: recorded once, corrected with the history kept, refused with a remedy."""

from collections.abc import Callable
from typing import Any

import pytest
from httpx import Response
from starlette.testclient import TestClient

from models_store.database import Database
from tests.verified_predictions import store_verified

MakeModel = Callable[..., str]
VERIFIED = {"outcome": "malignant", "verified_by": "histopathology", "verified_at": "2026-01-19T08:00:00+01:00"}


@pytest.fixture
def prediction(database: Database, make_model: MakeModel) -> str:
    return store_verified(database, make_model(), [("benign", None, 1)])[0]


def send(client: TestClient, prediction: str, **changes: Any) -> Response:
    return client.post(f"/v1/predictions/{prediction}/outcome", json=VERIFIED | changes)


def history(client: TestClient, prediction: str) -> list[tuple[int, str, bool]]:
    items = client.get(f"/v1/predictions/{prediction}/outcome").json()["items"]
    return [(item["number"], item["outcome"], item["current"]) for item in items]


@pytest.mark.both_databases
def test_outcome_is_recorded_once_however_often_it_is_sent(client: TestClient, prediction: str) -> None:
    assert history(client, prediction) == []
    first = send(client, prediction, note="superficial spreading, 0.4 mm")
    again = send(client, prediction, note="superficial spreading, 0.4 mm", verified_at="2026-01-19T07:00:00Z")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json() | {"recorded_at": None} == {
        "prediction_id": prediction,
        "number": 1,
        "current": True,
        "outcome": "malignant",
        "verified_by": "histopathology",
        "verified_at": "2026-01-19T07:00:00Z",
        "note": "superficial spreading, 0.4 mm",
        "recorded_by": "local",
        "recorded_at": None,
    }
    assert history(client, prediction) == [(1, "malignant", True)]


@pytest.mark.both_databases
def test_another_outcome_is_refused_until_it_names_the_one_that_it_replaces(
    client: TestClient, prediction: str
) -> None:
    send(client, prediction)
    refused = send(client, prediction, outcome="benign")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/outcome-differs")
    assert "outcome 1 of" in refused.json()["detail"]
    assert "`replaces`" in refused.json()["remedy"]

    assert send(client, prediction, outcome="benign", replaces=1).status_code == 201
    assert send(client, prediction, outcome="benign", replaces=1).status_code == 200
    assert send(client, prediction, replaces=1).status_code == 409
    assert history(client, prediction) == [(2, "benign", True), (1, "malignant", False)]


def test_nothing_is_replaced_where_there_is_no_outcome(client: TestClient, prediction: str) -> None:
    refused = send(client, prediction, replaces=3)
    assert refused.status_code == 409
    assert "has no outcome yet" in refused.json()["detail"]


def test_unknown_prediction_has_no_outcome(client: TestClient) -> None:
    for answer in (send(client, "prd_none"), client.get("/v1/predictions/prd_none/outcome")):
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/prediction-not-found")
        assert answer.json()["remedy"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "unclear"),
        ("verified_by", ""),
        ("verified_at", "2026-01-19T08:00:00"),
        ("verified_at", "2999-01-01T00:00:00Z"),
        ("verified_at", "9999-12-31T23:59:59-14:00"),
        ("note", "ann@example.org"),
        ("note", "born 03.04.1961"),
        ("note", "record 1234-5678"),
        ("replaces", 0),
        ("patient", "Ann"),
    ],
)
def test_invalid_outcome_is_refused_with_the_name_of_the_field(
    client: TestClient, prediction: str, field: str, value: Any
) -> None:
    answer = send(client, prediction, **{field: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{field}"
    assert history(client, prediction) == []
