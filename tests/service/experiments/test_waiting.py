"""The place of an experiment in the queue, and when it is expected to start."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import inf

import pytest
from redis import Redis
from starlette.testclient import TestClient

from dermatriage_client.schemas import ExperimentRead
from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.presence import Presence, remove_heartbeat, send_heartbeat
from models_store.settings import Settings
from service.cli.results import experiment_lines, experiment_row
from service.experiments import waiting
from service.experiments.durations import final_seconds
from service.experiments.estimate import Epochs, Network
from service.experiments.forecast import Work, forecast
from service.experiments.waiting import estimate_in_queue
from tests.some_costs import some_costs

EPOCH_SECONDS, START_SECONDS = 2.0, 6.0
SPEC = {"dataset": "synthetic", "architectures": ["CNN_v1", "CNN_v2"], "strategies": ["LowLR"], "epochs": 4}
# Both trials of Phase 1, the one of Phase 2 and the final evaluation, one at a time.
WHOLE_SECONDS = 3 * (START_SECONDS + 4 * EPOCH_SECONDS) + final_seconds(
    ExperimentSpec.model_validate(SPEC), [EPOCH_SECONDS] * 3
)


@pytest.fixture(autouse=True)
def known_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = {Network(name, None): EPOCH_SECONDS for name in ("CNN_v1", "CNN_v2")}
    known = Epochs(training=epochs, final=epochs, recorded=(), from_table={})
    monkeypatch.setattr(waiting, "costs", lambda: some_costs({}))
    monkeypatch.setattr(waiting, "epochs_of_networks", lambda _session, _spec: known)


@pytest.fixture
def one_slot(settings: Settings) -> Iterator[None]:
    told = {"host": "a", "gpus": (), "cores": 4, "python": "", "version": "", "commit": "", "started_at": ""}
    with Redis.from_url(settings.broker_url) as broker:
        send_heartbeat(broker, Presence(name="one", queues=("cpu", "gpu"), slots=1, **told))
        yield
        remove_heartbeat(broker, "one")


def submitted(database: Database, **changes: object) -> str:
    with database.write() as session:
        return runs.submit(session, ExperimentSpec.model_validate(SPEC | changes)).id


def claim(database: Database) -> runs.Claim:
    with database.write() as session:
        claimed = runs.claim_next(session, ["cpu"], "w", timedelta(minutes=1))
    assert claimed is not None
    return claimed


@pytest.mark.parametrize(
    ("works", "slots", "starts_and_ends"),
    [
        ([Work((), [[5.0], [3.0]])], 1, [(0, 8)]),
        ([Work((), [[5.0, 5.0], [3.0]]), Work((), [[1.0]])], 1, [(0, 13), (13, 14)]),
        # While the last trial of a phase runs, the other slot is free for the next experiment.
        ([Work((), [[5.0], [3.0]]), Work((), [[1.0, 9.0]])], 2, [(0, 8), (0, 10)]),
        # The second phase of the older experiment goes before trials of the younger one.
        ([Work((), [[5.0], [3.0]]), Work((), [[5.0, 1.0]])], 1, [(0, 8), (8, 14)]),
        ([Work([4.0], [[], [3.0]]), Work((), [[1.0]])], 1, [(0, 7), (7, 8)]),
        ([Work((), [[5.0], [], [3.0]])], 1, [(0, 8)]),
        ([Work((), [[inf]]), Work((), [[1.0]])], 1, [(0, inf), (inf, inf)]),
        ([Work((), [[inf]]), Work((), [[1.0]])], 2, [(0, inf), (0, 1)]),
        ([Work((), [[1.0]])], 0, [(inf, inf)]),
    ],
)
def test_forecast_follows_the_order_of_claims(
    works: list[Work], slots: int, starts_and_ends: list[tuple[float, float]]
) -> None:
    assert forecast(works, slots) == starts_and_ends


@pytest.mark.usefixtures("one_slot")
def test_queued_experiment_has_a_place_and_an_expected_start(client: TestClient, database: Database) -> None:
    first, second, urgent = submitted(database), submitted(database), submitted(database, priority=9)
    shown = {row["id"]: row["waiting"] for row in client.get("/v1/experiments").json()["items"]}
    assert {name: shown[name]["position"] for name in (urgent, first, second)} == {urgent: 1, first: 2, second: 3}
    waited = [datetime.fromisoformat(shown[name]["expected_start"]) for name in (urgent, first, second)]
    assert [(later - waited[0]).total_seconds() for later in waited] == pytest.approx(
        [0, WHOLE_SECONDS, 2 * WHOLE_SECONDS], abs=1e-3
    )
    assert client.get(f"/v1/experiments/{second}").json()["waiting"]["position"] == 3


@pytest.mark.usefixtures("one_slot")
def test_running_experiment_has_no_place_and_its_remaining_time_delays_the_others(
    client: TestClient, database: Database
) -> None:
    first, second = submitted(database), submitted(database)
    claim(database)
    assert client.get(f"/v1/experiments/{first}").json()["waiting"] is None
    waiting_now = client.get(f"/v1/experiments/{second}").json()["waiting"]
    assert waiting_now["position"] == 1
    estimated = client.post("/v1/experiments/estimate", json=SPEC).json()
    # The running trial has started already.
    assert (estimated["ahead"], estimated["starts_in_seconds"]) == (2, 2 * WHOLE_SECONDS - START_SECONDS)


@pytest.mark.usefixtures("one_slot")
def test_phase_3_of_an_experiment_on_gpus_does_not_occupy_a_gpu(client: TestClient, database: Database) -> None:
    submitted(database, queue="gpu")
    estimated = client.post("/v1/experiments/estimate", json=SPEC | {"queue": "gpu"}).json()
    assert (estimated["ahead"], estimated["starts_in_seconds"]) == (1, 3 * (START_SECONDS + 4 * EPOCH_SECONDS))


def test_without_a_worker_the_start_is_unknown(client: TestClient, database: Database) -> None:
    assert client.get(f"/v1/experiments/{submitted(database)}").json()["waiting"] == {
        "position": 1,
        "expected_start": None,
    }


@pytest.mark.usefixtures("one_slot")
def test_more_urgent_experiment_has_nothing_ahead(database: Database, settings: Settings) -> None:
    submitted(database)
    with database.read() as session:
        urgent = ExperimentSpec.model_validate(SPEC | {"priority": 9})
        estimated = estimate_in_queue(session, urgent, settings.broker_url)
    assert (estimated.ahead, estimated.starts_in_seconds) == (0, 0.0)


def test_queues_are_counted_separately(client: TestClient, database: Database) -> None:
    submitted(database)
    on_gpu = submitted(database, queue="gpu")
    assert client.get(f"/v1/experiments/{on_gpu}").json()["waiting"]["position"] == 1


@pytest.mark.usefixtures("one_slot")
def test_unreadable_spec_hides_only_the_expected_starts_behind_it(client: TestClient, database: Database) -> None:
    unreadable, behind = submitted(database), submitted(database)
    with database.write() as session:
        experiment = runs.find_experiment(session, unreadable)
        experiment.spec = {**experiment.spec, "epochs": -1}
    assert client.get(f"/v1/experiments/{behind}").json()["waiting"] == {"position": 2, "expected_start": None}


@pytest.mark.usefixtures("one_slot")
def test_page_list_and_command_line_show_the_place(client: TestClient, database: Database) -> None:
    submitted(database)
    second = submitted(database)
    assert "number 2 in the queue</strong>; expected to start in" in client.get(f"/experiments/{second}").text
    assert "number 2 in the queue, expected to start in" in client.get("/").text
    shown = ExperimentRead.model_validate(client.get(f"/v1/experiments/{second}").json())
    assert "queued, number 2 in the queue, expected to start at" in "\n".join(experiment_lines(shown))
    assert "no. 2" in experiment_row(shown)


@pytest.mark.usefixtures("one_slot")
def test_form_shows_the_experiments_ahead(client: TestClient, database: Database) -> None:
    form = {"dataset": "synthetic", "architectures": ["CNN_v1"], "class_weights": ["W3"]}
    fragment = {"X-Fragment": "1"}
    assert "ahead in the queue" not in client.post("/experiments/estimate", data=form, headers=fragment).text
    submitted(database)
    estimated = client.post("/experiments/estimate", data=form, headers=fragment).text
    assert "1 experiment is ahead in the queue, so this one is expected to start in about 1.7 min" in estimated


def test_time_taken_counts_work_and_not_waiting(client: TestClient, database: Database) -> None:
    experiment_id = submitted(database)
    started = datetime.fromisoformat("2026-01-05T09:00:00+00:00")
    with database.write() as session:
        experiment = runs.find_experiment(session, experiment_id)
        experiment.created_at = started - timedelta(hours=9)
        experiment.status, experiment.started_at = "failed", started
        experiment.finished_at = started + timedelta(minutes=10)
    shown = ExperimentRead.model_validate(client.get(f"/v1/experiments/{experiment_id}").json())
    assert "took 0:10:00" in "\n".join(experiment_lines(shown))
