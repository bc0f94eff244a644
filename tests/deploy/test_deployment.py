"""Install, train, predict, lose containers, stop and start, back up and restore: one deployment's life, in order."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from models_store.store.signatures import Trusted
from tests.deploy.installing import clean_clone, new_stack
from tests.deploy.stack import CommandFailed, Stack

pytestmark = pytest.mark.timeout(1800)

REAL = "ham10000_28"
SHORT: dict[str, Any] = {
    "dataset": REAL,
    "architectures": ["CNN_v1"],
    "epochs": 2,
    "patience": 2,
    "strategies": [],
    "selection": {"policy": "specificity_at_recall"},
    "promote": "always",
}
LONGER = {**SHORT, "class_weights": ["W0", "W3", "W5"], "epochs": 5, "patience": 5}


def the_whole_record(stack: Stack) -> dict[str, Any]:
    """Everything a user may ask for again: what ended, with trials and epochs, the models and the champion."""
    experiments = stack.get("/v1/experiments?limit=200&status=succeeded")["items"]
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
    assert not first.compose("exec", "-T", "web", "find", "/opt", "/usr", "-iname", "*tensorflow*.so*").split()
    for service in ("web", "worker-cpu", "sweeper"):
        asked = "id -u; command -v gcc cc g++ c++ clang ld as make || echo none; touch /opt/x /usr/x 2>&1 | sort -u"
        user, compilers, *written = first.compose("exec", "-T", service, "sh", "-c", asked).splitlines()
        assert (user, compilers) == ("10001", "none")
        assert len(written) == 2, written
        assert all("Read-only file system" in line for line in written)


def test_a_browser_gets_the_page_and_all_that_it_names(first: Stack) -> None:
    """What the wheel left out, a stylesheet say, would be missing here alone."""
    page = first.browse("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for address in re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js|svg|png|ico|woff2))(?:\?[^"]*)?"', page.text):
        assert first.browse(address).status_code == 200, address


def test_a_clone_without_settings_says_what_to_do(tmp_path: Path) -> None:
    fresh = new_stack(clean_clone(tmp_path / "clone"), "unprepared")
    with pytest.raises(CommandFailed, match=r"run docs/deployment/prepare\.sh first"):
        fresh.compose("up", "--detach", "--wait")


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
    first.dermatriage("dataset", "register", "--direct", f"/var/lib/dermatriage/data/{REAL}.npz", "--name", REAL)
    ended = first.wait_for_success(first.submit(name="first", **SHORT))
    answer = first.predict(lesion)
    assert answer["model_version"] == ended["result"]["model_version"]
    assert 0 <= answer["probability_malignant"] <= 1
    in_rows = first.in_database(
        f"SELECT metrics->>'recall' FROM models WHERE version = '{ended['result']['model_version']}'"
    )
    assert float(in_rows) == pytest.approx(ended["result"]["test"]["recall"])
    assert first.in_database("SELECT count(*) > 0 FROM epochs") == "t"


def test_workers_sign_models_and_web_holds_the_public_half_alone(first: Stack) -> None:
    (key_id,) = Trusted.of(first.clone / "secrets" / "verify_keys").keys
    assert {model["signed_by"] for model in first.get("/v1/models")["items"]} == {key_id}
    held = first.compose("exec", "-T", "web", "sh", "-c", "cat /run/secrets/*")
    assert "PUBLIC KEY" in held
    assert "PRIVATE KEY" not in held


def test_logs_are_json_with_a_request_id(first: Stack) -> None:
    for service in ("web", "worker-cpu", "sweeper", "migrate"):
        lines = [json.loads(line) for line in first.printed(service)]
        assert lines
        assert all({"time", "level", "message"} <= set(line) for line in lines)
        if service == "web":
            assert [line for line in lines if line.get("route") == "/predict" and line["request_id"]]


def test_a_worker_that_is_stopped_hands_its_trial_back(first: Stack) -> None:
    identifier = first.submit(name="handed back", **{**SHORT, "epochs": 4, "patience": 4})
    running = first.wait_until(lambda: first.running_trial(identifier), "a trial that trains", 180)
    trained = first.seconds_of_the_first_epoch(running["id"])
    [container] = first.containers("worker-cpu")
    first.run("docker", "stop", container)
    assert first.run("docker", "inspect", "--format", "{{.State.ExitCode}}", container).strip() == "0"
    [trial] = first.trials(identifier)
    # Nothing waits for its lease to end, and being handed back counts as no attempt.
    assert (trial["status"], trial["attempts"]) == ("queued", running["attempts"] - 1)
    first.run("docker", "start", container)
    first.wait_for_success(identifier)
    assert first.seconds_of_the_first_epoch(running["id"]) == trained, "it began anew"


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
    """Nor is what still waits."""
    recorded, prediction = the_whole_record(first), a_recorded_prediction(first, lesion)
    first.compose("stop", "worker-cpu", "sweeper")
    waiting = first.submit(name="waiting", **{**SHORT, "epochs": 1})
    first.down()
    first.up("web")  # no worker yet, which would add to the record
    assert_everything_is_back(first, recorded, prediction, lesion)
    first.up()
    first.wait_for_success(waiting)


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
    first.wait_for_success(first.submit(name="after restore", **{**SHORT, "epochs": 1}))
