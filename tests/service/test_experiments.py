"""Submitting, listing, reading and cancelling experiments over HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import func, select
from starlette.testclient import TestClient

from models_store import runs
from models_store.broker import Publisher, broker
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow, Experiment
from service.app import create_app
from tests.end_to_end.stack import eventually
from tests.queued_experiment import a_training, an_epoch

SPEC = {"dataset": "synthetic", "architectures": ["CNN_v1"], "epochs": 2, "strategies": ["LowLR"]}
LEASE = timedelta(minutes=1)


def submit(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/experiments", json=SPEC | changes)
    assert answer.status_code == 202, answer.text
    return answer.json()


def run_one_trial(database: Database) -> str:
    with database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "worker", LEASE)
        assert claim is not None
        runs.heartbeat(session, claim, LEASE, [an_epoch(1, 0.8, best=True)])
        runs.finish_trial(session, claim, a_training(recall=0.8))
    return claim.trial_id


@pytest.mark.both_databases
def test_submitted_experiment_is_queued_and_found_at_its_location(client: TestClient) -> None:
    answer = client.post("/v1/experiments", json=SPEC)
    assert answer.status_code == 202
    found = client.get(answer.headers["Location"]).json()
    assert found == answer.json() | {"waiting": {"position": 1, "expected_start": None}}
    assert (found["status"], found["phase"], found["progress"], found["attempts"]) == ("queued", 0, 0.0, 0)
    assert found["spec"]["class_weights"] == ["W3"]
    assert found["created_at"].endswith("Z")


def test_submitted_experiment_wakes_a_worker_after_its_rows_are_committed(
    settings: Settings, database_url: str, storage: Storage
) -> None:
    publishing = Database(database_url, Publisher(broker(settings)))
    with (
        redis.Redis.from_url(settings.broker_url) as valkey,
        TestClient(create_app(settings, database=publishing, storage=storage)) as client,
    ):
        valkey.delete("cpu")
        posted = submit(client)
        _, sent = valkey.blpop("cpu", timeout=10)
        with publishing.write() as session:
            claim = runs.claim_next(session, ["cpu"], "worker", LEASE)
    headers = json.loads(sent)["headers"]
    assert (headers["task"], headers["argsrepr"]) == ("dermatriage.work", "['cpu']")
    assert claim is not None
    assert claim.experiment_id == posted["id"]


@pytest.mark.both_databases
def test_an_experiment_is_queued_until_a_trial_of_it_is_claimed(client: TestClient, database: Database) -> None:
    posted = submit(client)
    (trial,) = client.get(f"/v1/experiments/{posted['id']}/trials").json()["items"]
    assert (trial["name"], trial["status"]) == ("CNN_v1/W3", "queued")
    with database.write() as session:
        runs.claim_next(session, ["cpu"], "worker", LEASE)
    found = client.get(f"/v1/experiments/{posted['id']}").json()
    assert (found["status"], found["phase"]) == ("running", 1)
    assert found["started_at"] is not None


def test_experiment_is_accepted_while_the_broker_is_away(
    settings: Settings, database_url: str, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    publishing = Database(database_url, Publisher(broker(away)))
    with TestClient(create_app(away, database=publishing, storage=storage)) as client:
        assert client.get(f"/v1/experiments/{submit(client)['id']}").json()["status"] == "queued"
        eventually(lambda: "the sweeper will" in caplog.text)


@pytest.mark.parametrize(
    ("body", "pointer", "remedy"),
    [
        ({}, "/dataset", "errors"),
        (SPEC | {"epochs": 0}, "/epochs", "errors"),
        (SPEC | {"epoch": 3}, "/epoch", "errors"),
        (SPEC | {"architectures": ["CNN_v9"]}, "/architectures", "/v1/catalog"),
        (SPEC | {"input_sizes": [28]}, "/input_sizes", "errors"),
        (SPEC | {"architectures": []}, "/architectures", "errors"),
        (SPEC | {"calibration": {"target_recall": 1.5}}, "/calibration/target_recall", "errors"),
        (SPEC | {"calibration": {"policy": "fixed"}}, "/calibration", "errors"),
        (SPEC | {"name": "a\x00b"}, "/name", "errors"),
        (SPEC | {"a/b~c": 1}, "/a~1b~0c", "errors"),
        (SPEC | {"dataset": "nowhere"}, "/dataset", "dermatriage dataset register PATH --name nowhere"),
        ([SPEC], "", "errors"),
    ],
)
def test_malformed_spec_is_refused_with_a_pointer_and_a_remedy(
    client: TestClient, body: Any, pointer: str, remedy: str
) -> None:
    answer = client.post("/v1/experiments", json=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert problem["errors"][0]["pointer"] == pointer
    assert remedy in problem["remedy"]
    assert client.get("/v1/experiments").json()["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [
        ({"epoch": 3}, "/epoch", "there is no such field; did you mean `epochs`?"),
        ({"Seed": 3}, "/Seed", "did you mean `seed`?"),
        ({"selection": {"polcy": "val_f2"}}, "/selection/polcy", "did you mean `policy`?"),
        ({"xyz": 1}, "/xyz", "choose from name, dataset, architectures"),
        ({"architectures": ["cnn_v1"]}, "/architectures", "unknown 'cnn_v1'; did you mean `CNN_v1`?"),
        ({"architectures": ["CNN_v1", "ResNetv2"]}, "/architectures", "did you mean `ResNet_v2`?"),
        ({"architectures": ["Transformer"]}, "/architectures", "choose from CNN_v1, CNN_v2"),
        ({"strategies": ["lowlr"]}, "/strategies", "did you mean `LowLR`?"),
        ({"class_weights": ["w3"]}, "/class_weights", "did you mean `W3`?"),
        ({"dataset": "dermamnits"}, "/dataset", "did you mean `dermamnist`?"),
        ({"dataset": "my_lesion"}, "/dataset", "did you mean `my_lesions`?"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    client: TestClient, database: Database, change: dict[str, Any], pointer: str, message: str
) -> None:
    with database.write() as session:
        described = {"image_size": 28, "counts": {}, "synthetic": False, "created_at": datetime.now(UTC)}
        session.add(DatasetRow(name="my_lesions", sha256="0" * 64, store_key="datasets/0.npz", **described))
    (error,) = client.post("/v1/experiments", json=SPEC | change).json()["errors"]
    assert error["pointer"] == pointer
    assert message in error["detail"]


def test_a_misspelt_field_of_any_body_is_answered_with_the_one_that_was_meant(client: TestClient) -> None:
    problem = client.post("/v1/models/rollback", json={"reason": "worse", "reasn": "worse"}).json()
    assert "/reasn: there is no such field; did you mean `reason`?" in problem["detail"]


def test_registered_dataset_may_be_named(client: TestClient, database: Database) -> None:
    with database.write() as session:
        session.add(
            DatasetRow(
                name="mine",
                sha256="0" * 64,
                store_key="datasets/mine",
                image_size=28,
                counts={},
                synthetic=False,
                created_at=runs.experiments.now(session),
            )
        )
    submit(client, dataset="mine")
    assert {"name": "mine", "source": "registered"}.items() <= client.get("/v1/catalog").json()["datasets"][-1].items()


@pytest.mark.both_databases
def test_same_key_and_body_give_the_same_experiment(client: TestClient) -> None:
    headers = {"Idempotency-Key": "monday"}
    first, again = (client.post("/v1/experiments", json=SPEC, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert len(client.get("/v1/experiments").json()["items"]) == 1


@pytest.mark.both_databases
def test_same_key_with_another_body_is_refused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "monday"}
    client.post("/v1/experiments", json=SPEC, headers=headers)
    answer = client.post("/v1/experiments", json=SPEC | {"seed": 7}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"


@pytest.mark.both_databases
def test_same_key_sent_many_times_at_once_makes_one_experiment(client: TestClient, database: Database) -> None:
    def post(_: int) -> tuple[int, str]:
        answer = client.post("/v1/experiments", json=SPEC, headers={"Idempotency-Key": "rush"})
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(post, range(24)))
    assert len(answers) == 1
    assert answers.pop()[0] == 202
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Experiment)) == 1


@pytest.mark.both_databases
def test_pages_stay_stable_while_experiments_are_submitted(client: TestClient) -> None:
    made = [submit(client, name=str(number))["id"] for number in range(7)]
    seen, cursor = [], None
    while True:
        page = client.get("/v1/experiments", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        submit(client, name="meanwhile")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


@pytest.mark.both_databases
def test_list_can_be_narrowed_to_a_status(client: TestClient) -> None:
    cancelled = submit(client)["id"]
    client.post(f"/v1/experiments/{cancelled}/cancel")
    submit(client)
    listed = client.get("/v1/experiments", params={"status": "cancelled"}).json()["items"]
    assert [item["id"] for item in listed] == [cancelled]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=WzEsMl0", "cursor"),
        ("status=lost", "status"),
    ],
)
def test_bad_page_query_is_refused(client: TestClient, query: str, parameter: str) -> None:
    answer = client.get(f"/v1/experiments?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.both_databases
def test_queued_experiment_is_cancelled_at_once_and_cancelling_again_changes_nothing(client: TestClient) -> None:
    address = f"/v1/experiments/{submit(client)['id']}/cancel"
    first, again = client.post(address), client.post(address)
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert again.json() == first.json()


@pytest.mark.both_databases
def test_running_experiment_is_cancelling_until_its_process_is_gone(client: TestClient, database: Database) -> None:
    posted = submit(client)
    with database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "worker", LEASE)
    assert client.post(f"/v1/experiments/{posted['id']}/cancel").json()["status"] == "cancelling"
    with database.write() as session:
        assert claim is not None
        runs.confirm_cancelled(session, claim)
    assert client.get(f"/v1/experiments/{posted['id']}").json()["status"] == "cancelled"


def test_finished_experiment_cannot_be_cancelled(client: TestClient, database: Database) -> None:
    posted = submit(client)
    with database.write() as session:
        runs.finish_experiment(session, posted["id"], {"winner": "a"})
    answer = client.post(f"/v1/experiments/{posted['id']}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/experiment-finished")


@pytest.mark.both_databases
def test_trials_are_listed_with_their_epochs_on_request(client: TestClient, database: Database) -> None:
    posted = submit(client)
    trial_id = run_one_trial(database)
    address = f"/v1/experiments/{posted['id']}/trials"
    (without,) = client.get(address).json()["items"]
    (trial,) = client.get(address, params={"epochs": "true"}).json()["items"]
    assert without["epochs"] is None
    assert trial["epochs"][0].items() >= {"number": 1, "metrics": {"val_recall": 0.8}, "best": True}.items()
    assert client.get(f"/v1/trials/{trial_id}").json() == trial
    assert client.get(f"/v1/experiments/{posted['id']}").json()["attempts"] == 1


def test_failed_experiment_shows_the_cause_and_hides_the_rest(client: TestClient, database: Database) -> None:
    posted = submit(client)
    with database.write() as session:
        runs.fail_experiment(session, posted["id"], {"kind": "NoWeights", "message": "none", "traceback": "File …"})
    read = client.get(f"/v1/experiments/{posted['id']}").json()
    assert read["error"] == {"kind": "NoWeights", "message": "none"}


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/v1/experiments/exp_0"),
        ("POST", "/v1/experiments/exp_0/cancel"),
        ("GET", "/v1/experiments/exp_0/trials"),
        ("GET", "/v1/trials/trl_0"),
    ],
)
def test_unknown_id_is_not_found(client: TestClient, method: str, address: str) -> None:
    answer = client.request(method, address)
    assert answer.status_code == 404
    assert "_0" in answer.json()["detail"]
    assert answer.json()["remedy"]


def test_catalog_shows_every_name_an_experiment_may_use(client: TestClient) -> None:
    catalog = client.get("/v1/catalog").json()
    assert {"CNN_v1", "ConvNet_v1", "EffLite_v1"} <= {architecture["name"] for architecture in catalog["architectures"]}
    assert [recipe["name"] for recipe in catalog["recipes"]] == ["classic", "modern"]
    assert [weight["malignant"] for weight in catalog["class_weights"]] == [1.0, 3.0, 5.0]
    assert {"dermamnist", "synthetic"} <= {dataset["name"] for dataset in catalog["datasets"]}


def test_every_preset_is_accepted(client: TestClient) -> None:
    for preset in client.get("/v1/catalog").json()["presets"].values():
        assert client.post("/v1/experiments", json={"dataset": "synthetic", **preset}).status_code == 202
