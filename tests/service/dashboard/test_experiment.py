"""The page of an experiment: its phases, trials, curves, logs and cancellation."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from starlette.testclient import TestClient

from models_store.database import Database
from models_store.tables import EpochRow, Experiment, Trial, TrialLog
from tests.finished_experiment import COLLAPSE
from tests.service.dashboard.conftest import MakeExperiment


def page_of(client: TestClient, experiment_id: str, part: str = "") -> str:
    answer = client.get(f"/experiments/{experiment_id}{part}")
    assert answer.status_code == 200, answer.text
    return answer.text


def curves_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="curves">(.*?)</script>', page, re.S)
    assert found is not None
    curves: dict[str, Any] = json.loads(found[1])
    return curves


def tiles_in(page: str) -> list[tuple[str, str]]:
    """Name and status of every trial in the overview."""
    return re.findall(r'<li class="tile (\w+)" style="[^"]+"><span>([^<]+)</span>', page.split('<ul class="key"')[0])


def add_trial(database: Database, experiment_id: str, **columns: Any) -> str:
    with database.write() as session:
        fields = {"phase": 1, "position": 9, "name": "CNN_v1/W3", "kind": "train", "queue": "cpu"}
        trial = Trial(experiment_id=experiment_id, spec={}, created_at=datetime.now(UTC), **(fields | columns))
        session.add(trial)
        session.flush()
        return trial.id


def test_a_finished_experiment_links_to_result_report_and_card(client: TestClient, finished: str) -> None:
    page = page_of(client, finished)
    links = re.findall(r'href="([^"]+)"', page)
    assert f"/experiments/{finished}/result" in links
    assert f"/v1/experiments/{finished}/report" in links
    assert f"/v1/models/mdl_{finished}/card" in links
    assert "Cancel" not in page


def test_the_leaderboard_ranks_by_recall_and_gives_the_reason_of_a_collapse(client: TestClient, finished: str) -> None:
    page = page_of(client, finished)
    board = page[page.index('class="data board') :]
    recalls = [float(found) for found in re.findall(r'data-label="Recall" class="number"><strong>(\d\.\d+)', board)]
    assert recalls == sorted(recalls, reverse=True)
    assert len(recalls) >= 3
    assert COLLAPSE in board
    assert board.index("badge succeeded") < board.index("badge collapsed") < board.index("badge failed")


def test_the_leaderboard_shows_the_figure_that_ranks_and_why_the_first_is_first(
    client: TestClient, finished: str, database: Database
) -> None:
    with database.write() as session:
        experiment = session.get_one(Experiment, finished)
        experiment.spec = {
            **experiment.spec,
            "selection": {"policy": "specificity_at_recall", "min_specificity": 0.5},
        }
    page, report = page_of(client, finished), client.get(f"/v1/experiments/{finished}/report").text
    board = page[page.index('class="data board') :]
    label = "Specificity at recall 0.90"
    ranks = re.findall(rf'data-label="{label}" class="number"><strong>(\d\.\d+)', board)
    assert ranks == sorted(ranks, reverse=True)
    assert len(ranks) >= 3
    assert f'aria-sort="descending">{label}<' in board
    [why] = re.findall(r'<p id="why-first">([^<]+ is first of \d[^<]+)</p>', page)
    assert why in report
    assert why in page_of(client, finished, "/result")


def test_a_waiting_experiment_shows_every_trial_it_will_have(
    client: TestClient, make_experiment: MakeExperiment
) -> None:
    experiment_id = make_experiment("queued", phase=0, architectures=["CNN_v1", "VGG_v1"], strategies=["LowLR"])
    page = page_of(client, experiment_id)
    assert tiles_in(page) == [
        ("planned", "CNN_v1/W3"),
        ("planned", "VGG_v1/W3"),
        ("planned", "LowLR"),
        ("planned", "calibrate and test"),
    ]
    assert "Waiting for a worker" in page


def test_the_overview_shows_the_epochs_of_running_trials(
    client: TestClient, make_experiment: MakeExperiment, database: Database
) -> None:
    experiment_id = make_experiment("running", architectures=["CNN_v1"], epochs=12)
    trial = add_trial(database, experiment_id, status="running", epochs_done=3, started_at=datetime.now(UTC))
    metrics = {"val_recall": 0.91, "val_specificity": 0.7, "val_auc": 0.88, "val_loss": 0.5, "recall": 0.8}
    with database.write() as session:
        for number in (1, 2, 3):
            flags = {"seconds": 1.0, "eligible": True, "best": number == 2, "created_at": datetime.now(UTC)}
            session.add(EpochRow(trial_id=trial, number=number, metrics=metrics, **flags))
    page = page_of(client, experiment_id, "/status")
    assert 'class="tile running" style="--done: 25.0%"' in page
    assert "0.910" in page
    assert '2<span class="soft"> of 3</span>' in page
    assert "<html" not in page


def test_curves_hold_train_and_validation_and_the_number_of_their_last_event(
    client: TestClient, finished: str, database: Database
) -> None:
    with database.write() as session:
        session.get_one(Experiment, finished).events = 77
    curves = curves_in(page_of(client, finished))
    assert (curves["after"], curves["ended"], curves["floor"]) == (77, True, 0.5)
    assert list(curves["figures"]) == ["recall", "specificity", "auc", "loss"]
    first = curves["trials"][0]
    assert first["name"] == "CNN_v1/W3"
    assert first["columns"]["number"] == list(range(1, 13))
    assert len(first["columns"]["val_recall"]) == 12


def test_a_failed_experiment_shows_the_reason_and_a_remedy(
    client: TestClient, make_experiment: MakeExperiment, database: Database
) -> None:
    experiment_id = make_experiment("failed", phase=1)
    with database.write() as session:
        error = {"kind": "collapsed", "message": "CNN_v1/W3 collapsed: no epoch reached 0.50"}
        session.get_one(Experiment, experiment_id).error = error
    page = page_of(client, experiment_id)
    assert "CNN_v1/W3 collapsed: no epoch reached 0.50" in page
    assert "train for longer" in page


def test_cancelling_needs_confirmation_and_ends_the_experiment(
    client: TestClient, make_experiment: MakeExperiment
) -> None:
    experiment_id = make_experiment("queued", phase=0)
    assert "Cancel experiment" in page_of(client, experiment_id)
    answer = client.post(f"/experiments/{experiment_id}/cancel", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/experiments/{experiment_id}")
    page = page_of(client, experiment_id)
    assert 'id="status">cancelled' in page
    assert "Cancel experiment" not in page


def test_the_log_of_a_trial_is_on_a_page_and_in_the_api(client: TestClient, finished: str, database: Database) -> None:
    with database.write() as session:
        trial = session.query(Trial).filter_by(experiment_id=finished, phase=2, position=0).one()
        log = {"attempt": 1, "text": "<Epoch> 1", "is_whole": False, "written_at": datetime.now(UTC)}
        session.add(TrialLog(trial_id=trial.id, **log))
        trial_id = trial.id
    assert f"/experiments/{finished}/log/{trial_id}" in page_of(client, finished)
    page = page_of(client, finished, f"/log/{trial_id}")
    assert "&lt;Epoch&gt; 1" in page
    assert "Only the last 64 KiB" in page
    answer = client.get(f"/v1/trials/{trial_id}/log")
    assert (answer.text, answer.headers["Content-Type"]) == ("[…]\n<Epoch> 1", "text/plain; charset=utf-8")


def test_a_trial_that_printed_nothing_has_no_log_yet(client: TestClient, finished: str, database: Database) -> None:
    with database.read() as session:
        trial_id = session.query(Trial.id).filter_by(experiment_id=finished, phase=1, position=0).scalar()
    assert "no output yet" in page_of(client, finished, f"/log/{trial_id}")
    answer = client.get(f"/v1/trials/{trial_id}/log")
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/log-not-found")
    assert client.get("/v1/trials/trl_0/log").status_code == 404


def test_an_unknown_experiment_is_a_page_with_a_remedy(client: TestClient, finished: str) -> None:
    for address in ("/experiments/exp_0", "/experiments/exp_0/status", f"/experiments/{finished}/log/trl_0"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "There is no such" in answer.text
