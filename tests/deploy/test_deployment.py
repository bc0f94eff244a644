"""Install, train, predict, lose containers, stop and start, back up and restore: one deployment's life, in order."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.stack import CommandFailed, Stack

pytestmark = pytest.mark.timeout(1800)

REAL = "ham10000_28"
SHORT: dict[str, Any] = {
    "dataset": REAL,
    "architectures": ["CNN_v1"],
    "epochs": 3,
    "patience": 3,
    "strategies": ["LowLR"],
    "selection": {"policy": "specificity_at_recall"},
    "promote": "always",
}
LONGER = {**SHORT, "class_weights": ["W0", "W3", "W5"], "epochs": 6, "patience": 6, "strategies": []}


def the_whole_record(stack: Stack) -> dict[str, Any]:
    """Everything a user may ask for again: experiments, trials with their epochs, models and the champion."""
    experiments = stack.get("/v1/experiments?limit=200")["items"]
    return {
        "experiments": experiments,
        "trials": {each["id"]: stack.get(f"/v1/experiments/{each['id']}/trials?epochs=true") for each in experiments},
        "models": stack.get("/v1/models"),
    }


def a_recorded_prediction(stack: Stack, image: bytes) -> dict[str, Any]:
    """A prediction as it is read back; it is written a moment after it was answered."""
    identifier = stack.predict(image)["prediction_id"]
    written = f"SELECT 'written' FROM predictions WHERE id = '{identifier}'"
    stack.wait_until(lambda: stack.in_database(written), "the record of a prediction", 30)
    return dict(stack.get(f"/v1/predictions/{identifier}"))


def assert_everything_is_back(stack: Stack, recorded: dict[str, Any], prediction: dict[str, Any], image: bytes) -> None:
    assert the_whole_record(stack) == recorded
    assert stack.get(f"/v1/predictions/{prediction['id']}") == prediction
    again = stack.predict(image)
    assert again["model_version"] == prediction["model_version"]
    assert again["probability_malignant"] == pytest.approx(prediction["probability"])


def test_images_hold_what_they_need_and_no_more(first: Stack) -> None:
    """No TensorFlow where it only serves, no compiler, no root, nothing to write on."""
    absent = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))"
    first.compose("exec", "-T", "web", "python", "-c", absent, "tensorflow", "keras", "sklearn", "pandas", "torch")
    for service in ("web", "worker-cpu", "sweeper"):
        asked = "id -u; command -v gcc cc g++ clang make || echo none; touch /opt/x 2>/dev/null || echo read-only"
        assert first.compose("exec", "-T", service, "sh", "-c", asked).split() == ["10001", "none", "read-only"]


def test_only_web_is_reached_from_outside(first: Stack) -> None:
    shown = [json.loads(line) for line in first.compose("ps", "--format", "json").splitlines()]
    published = {
        service["Service"]: [port["URL"] for port in service.get("Publishers") or () if port["PublishedPort"]]
        for service in shown
    }
    assert {service for service, addresses in published.items() if addresses} == {"web"}
    assert published["web"] == ["127.0.0.1"]


def test_no_password_is_in_an_environment(first: Stack) -> None:
    passwords = [(first.clone / "secrets" / name).read_text() for name in ("postgres_password", "redis_password")]
    for service in ("web", "worker-cpu", "postgres", "redis"):
        for container in first.containers(service):
            inspected = first.run("docker", "inspect", container)
            assert not [password for password in passwords if password in inspected]


def test_an_experiment_on_real_images_succeeds_and_its_model_answers(first: Stack, lesion: bytes) -> None:
    first.dermatriage("dataset", "register", f"/var/lib/dermatriage/data/{REAL}.npz", "--name", REAL)
    ended = first.wait_for_success(first.submit(name="first", **SHORT))
    answer = first.predict(lesion)
    assert answer["model_version"] == ended["result"]["model_version"]
    assert 0 <= answer["probability_malignant"] <= 1
    in_rows = first.in_database(
        f"SELECT metrics->>'recall' FROM models WHERE version = '{ended['result']['model_version']}'"
    )
    assert float(in_rows) == pytest.approx(ended["result"]["test"]["recall"])
    assert first.in_database("SELECT count(*) > 0 FROM epochs") == "t"


def test_an_experiment_survives_the_kill_of_worker_web_redis_and_postgres(first: Stack) -> None:
    first.up("--scale", "worker-cpu=3", "--no-recreate")
    identifier = first.submit(name="killed", **LONGER)
    running = first.wait_until(lambda: first.running_trial(identifier), "a trial that trains", 180)
    victim = running["worker"].partition(":")[0]  # a container's host name is the start of its id

    first.kill(victim)
    first.wait_until(
        lambda: next(trial for trial in first.trials(identifier) if trial["id"] == running["id"])["attempts"] > 1,
        "another attempt at the trial whose worker was killed",
        180,
    )
    for service in ("web", "redis", "postgres"):
        [container] = first.containers(service)
        first.kill(container)
        first.run("docker", "start", container)

    first.wait_for_success(identifier, 900)
    trials = first.trials(identifier)
    assert {trial["status"] for trial in trials} <= {"succeeded", "collapsed"}, trials
    assert len({trial["worker"] for trial in trials}) > 1


def test_a_crashed_web_process_comes_back_by_itself(first: Stack) -> None:
    [container] = first.containers("web")
    before = first.run("docker", "inspect", "--format", "{{.State.StartedAt}}", container)
    with suppress(CommandFailed):  # the command goes down with the container
        first.compose("exec", "-T", "web", "python", "-c", "import os; os.kill(-1, 9)")
    first.wait_until(
        lambda: first.run("docker", "inspect", "--format", "{{.State.StartedAt}}", container) != before,
        "a restart by the restart policy",
        60,
    )
    first.get("/healthz")


def test_nothing_is_lost_by_down_and_up(first: Stack, lesion: bytes) -> None:
    recorded, prediction = the_whole_record(first), a_recorded_prediction(first, lesion)
    first.down()
    first.up()
    assert_everything_is_back(first, recorded, prediction, lesion)


def test_what_was_queued_at_down_runs_after_up(first: Stack) -> None:
    first.compose("stop", "worker-cpu", "sweeper")
    identifier = first.submit(name="waiting", **{**SHORT, "epochs": 1, "strategies": []})
    first.down()
    first.up()
    first.wait_for_success(identifier)


def test_a_backup_brings_everything_back_after_all_volumes_are_gone(
    first: Stack, lesion: bytes, tmp_path: Path
) -> None:
    recorded, prediction = the_whole_record(first), a_recorded_prediction(first, lesion)
    first.run("docs/deployment/backup.sh", str(tmp_path / "saved"))
    first.down("--volumes")

    first.up("postgres")
    first.run("docs/deployment/restore.sh", str(tmp_path / "saved"))
    first.up()

    assert_everything_is_back(first, recorded, prediction, lesion)
    first.wait_for_success(first.submit(name="after restore", **{**SHORT, "epochs": 1, "strategies": []}))
