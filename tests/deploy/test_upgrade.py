"""From the oldest version that can be upgraded to this one while an experiment trains."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.installing import REPOSITORY, clean_clone, configure, deployed, new_stack
from tests.deploy.stack import Stack
from tests.deploy.test_deployment import LONGER, REAL

pytestmark = pytest.mark.timeout(1800)
OLDEST = "2339223"


@pytest.fixture
def previous(real_data: Path, tmp_path: Path) -> Iterator[Stack]:
    """The deployment of the oldest version that an upgrade may start from."""
    if not any(commit.startswith(OLDEST) for commit in git("rev-list", "--all").split()):
        pytest.skip(f"this clone does not hold the commit {OLDEST} to upgrade from (git fetch --unshallow)")
    stack = new_stack(clean_clone(tmp_path / "clone", OLDEST), "upgrade")
    configure(stack, real_data)
    with deployed(stack):
        yield stack


def test_an_upgrade_loses_no_running_experiment(previous: Stack) -> None:
    previous.dermatriage("dataset", "register", f"/var/lib/dermatriage/data/{REAL}.npz", "--name", REAL)
    identifier = previous.submit(name="upgraded", **{**LONGER, "class_weights": ["W0", "W5"]})
    running = previous.wait_until(lambda: previous.running_trial(identifier), "a trial that trains", 180)
    trained = previous.seconds_of_the_first_epoch(running["id"])
    old_commit = git("-C", str(previous.clone), "rev-parse", "HEAD")

    # docs/operations.md, "Upgrade"
    previous.run("docs/deployment/backup.sh", str(previous.clone.parent / "before-upgrade"))
    previous.run("git", "fetch", "--quiet", "origin", "HEAD")
    previous.run("git", "checkout", "--quiet", "--detach", git("rev-parse", "HEAD"))
    previous.run("docs/deployment/prepare.sh")
    previous.write_settings(IMAGE_TAG=f"{previous.project}-next")
    previous.build()
    previous.up()

    previous.wait_for_success(identifier, 900)
    commits = {trial["environment"]["commit"] for trial in previous.trials(identifier)}
    assert commits - {old_commit}, "nothing ran on the new image"
    assert previous.seconds_of_the_first_epoch(running["id"]) == trained, "the trial that trained began anew"
    assert previous.get("/healthz") == {"status": "ok"}


def git(*words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(REPOSITORY), *words], check=True, capture_output=True, text=True
    ).stdout.strip()
