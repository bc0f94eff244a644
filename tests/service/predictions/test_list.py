"""The list of recorded predictions: newest first, in pages, filtered by time, model and label."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.access import keys
from service.app import create_app
from tests.service.recorded import store_predictions

BEGAN = datetime(2026, 1, 5, 12, tzinfo=UTC)
pytestmark = pytest.mark.both_databases


@pytest.fixture
def versions(database: Database, make_model: Callable[..., str]) -> list[str]:
    """Two models that alternate over six predictions, a minute between them, the last two malignant."""
    made = [make_model(), make_model()]
    store_predictions(database, made, BEGAN)
    return made


def listed(client: TestClient, **params: Any) -> list[str]:
    answer = client.get("/v1/predictions", params=params)
    assert answer.status_code == 200
    return [each["id"] for each in answer.json()["items"]]


def numbered(*numbers: int) -> list[str]:
    return [f"prd_{number}" for number in numbers]


def test_predictions_are_filtered_by_time_model_and_label(client: TestClient, versions: list[str]) -> None:
    third = (BEGAN + timedelta(minutes=3)).isoformat()
    assert listed(client) == numbered(5, 4, 3, 2, 1, 0)
    assert listed(client, since=third) == numbered(5, 4, 3)
    assert listed(client, until=third) == numbered(2, 1, 0)
    assert listed(client, since="2026-01-05T13:01:00+01:00", until=third) == numbered(2, 1)
    assert listed(client, model=versions[0]) == numbered(4, 2, 0)
    assert listed(client, label="malignant") == numbered(5, 4)
    assert listed(client, label="benign", model=versions[1], since=third) == numbered(3)
    assert listed(client, model="mdl_none") == []


def test_pages_follow_each_other_and_keep_their_filter(client: TestClient, versions: list[str]) -> None:
    first = client.get("/v1/predictions", params={"model": versions[0], "limit": 2}).json()
    cursor = first["next_cursor"]
    rest = client.get("/v1/predictions", params={"model": versions[0], "limit": 2, "cursor": cursor}).json()
    assert [each["id"] for page in (first, rest) for each in page["items"]] == numbered(4, 2, 0)
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("since", "yesterday"),
        ("since", "2026-01-05T12:00:00"),
        ("since", "0001-01-01T00:00:00+14:00"),
        ("until", "9999-12-31T23:59:59-14:00"),
        ("label", "harmless"),
        ("model", "../../etc"),
        ("cursor", "nothing"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_its_name(client: TestClient, name: str, value: str) -> None:
    answer = client.get("/v1/predictions", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == name


def test_the_list_takes_a_key_that_may_read(settings: Settings, database: Database, storage: Storage) -> None:
    with database.write() as session:
        texts = {scope: keys.create(session, scope, [scope])[1] for scope in ("read", "predict")}
    app = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    with TestClient(app) as client:
        statuses = {
            scope: client.get("/v1/predictions", headers={"Authorization": f"Bearer {text}"}).status_code
            for scope, text in texts.items()
        }
    assert statuses == {"read": 200, "predict": 403}
