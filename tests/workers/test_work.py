"""An experiment from its submission to its end, with real processes that train nothing."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from models_store import runs
from models_store.contract.outcomes import Exit, Failed, Finalized, Started
from models_store.database import Database, now
from models_store.tables import Experiment, Trial
from tests.workers.conftest import ScriptedWorker
from workers.sweeper import Sweeper
from workers.trial import resume_store
from workers.trial.protocol import append_message, model_version
from workers.worker import work
from workers.worker.attempt import adopt_earlier
from workers.worker.context import Slot, attempt_folder, trial_folder


def start(scripted: ScriptedWorker, *, daemon: bool = True) -> Thread:
    running = Thread(target=work.run_next_trial, args=(scripted.worker, "cpu"), daemon=daemon)
    running.start()
    return running


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return answer


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def cancel(scripted: ScriptedWorker, experiment_id: str) -> str:
    with scripted.database.write() as session:
        return runs.cancel(session, experiment_id).status


def lease_runs_out(database: Database) -> None:
    with database.write() as session:
        session.execute(select(Experiment.id).with_for_update())  # before its trials, as everywhere
        session.execute(update(Trial).values(lease_expires_at=now(session)))
        for experiment_id in runs.with_expired_leases(session):
            runs.reclaim_expired(session, experiment_id, max_attempts=3)


def test_experiment_runs_through_its_three_phases(scripted: ScriptedWorker) -> None:
    scripted.set_script(CNN_v2_W3={"metrics": {"val_recall": 0.95}})
    experiment_id = scripted.submit()

    assert scripted.run_all() == 5

    ended = scripted.experiment(experiment_id)
    assert (ended.status, ended.phase, ended.progress) == ("succeeded", 3, 1.0)
    assert ended.result is not None
    assert ended.result["winner"] == "CNN_v2/W3"
    assert set(scripted.statuses(experiment_id).values()) == {"succeeded"}
    phases = [data["phase"] for kind, data in scripted.events(experiment_id) if kind == "phase"]
    assert phases == [1, 2, 3]
    (opening,) = scripted.openings()
    (model,) = scripted.models()
    assert (opening.experiment_id, opening.bundle_sha256) == (model.experiment_id, model.bundle_sha256)


def test_experiment_without_strategies_goes_from_screening_to_its_final_trial(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(strategies=[])
    scripted.run_all()
    assert scripted.experiment(experiment_id).status == "succeeded"
    assert list(scripted.statuses(experiment_id)) == ["CNN_v1/W3", "CNN_v2/W3", "final"]


def test_trial_records_its_host_and_leaves_only_its_checkpoint(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    work.run_next_trial(scripted.worker, "cpu")
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.worker, trial.environment) == ("here:1", {"host": "scripted", "gpu": "-1"})
    assert not trial_folder(scripted.worker, trial.id).exists()


def test_collapsed_trial_never_wins(scripted: ScriptedWorker) -> None:
    scripted.set_script(CNN_v2_W3={"end": "collapsed"}, every={"metrics": {"val_recall": 0.6}})
    experiment_id = scripted.submit()
    scripted.run_all()
    ended = scripted.experiment(experiment_id)
    assert ended.result is not None
    assert ended.result["winner"].startswith("CNN_v1/")
    assert ended.result["warnings"] == ["CNN_v2/W3 collapsed: no epoch reached specificity 0.50"]


def test_experiment_whose_trials_all_collapse_fails_with_the_reasons(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"end": "collapsed"})
    experiment_id = scripted.submit()
    scripted.run_all()
    ended = scripted.experiment(experiment_id)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error["kind"] == "collapsed"
    assert "CNN_v1/W3 collapsed: no epoch reached specificity 0.50; CNN_v2/W3 collapsed" in ended.error["message"]


def test_spec_that_cannot_train_is_tried_once_and_named_in_the_result(scripted: ScriptedWorker) -> None:
    scripted.set_script(CNN_v1_W3={"end": "refused"})
    experiment_id = scripted.submit()
    scripted.run_all()
    assert scripted.trials(experiment_id)["CNN_v1/W3"].attempts == 1
    ended = scripted.experiment(experiment_id)
    assert ended.status == "succeeded"
    assert ended.result is not None
    assert ended.result["warnings"] == ["CNN_v1/W3 failed: it cannot train"]


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ("segfault", "SIGSEGV"),
        ("killed", "ran out of memory"),
        ("memory", "MemoryError"),
        ("machine", "it cannot train"),
    ],
)
def test_machinery_that_fails_is_tried_again_then_fails_with_its_last_cause(
    scripted: ScriptedWorker, end: str, cause: str
) -> None:
    scripted.set_script(every={"end": end})
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    assert scripted.run_all() == scripted.worker.settings.max_attempts
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts) == ("failed", 3)
    assert trial.error is not None
    assert cause in trial.error["message"]
    assert scripted.experiment(experiment_id).status == "failed"


def test_trial_that_crashes_twice_succeeds_at_its_third_attempt(scripted: ScriptedWorker) -> None:
    scripted.set_script(CNN_v1_W3={"fails_until_attempt": 3})
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    scripted.run_all()
    assert scripted.trials(experiment_id)["CNN_v1/W3"].attempts == 3
    assert scripted.experiment(experiment_id).status == "succeeded"


def test_trial_that_loops_is_killed_at_its_limit(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"end": "hangs"})
    experiment_id = scripted.submit(architectures=["CNN_v1"], limits={"trial_minutes": 0.02})
    scripted.run_all()
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts) == ("failed", 1)
    assert trial.error is not None
    assert trial.error["kind"] == "TimeLimitExceeded"
    assert is_gone(scripted.starts()[0]["pid"])


def test_stopping_worker_releases_its_trial_for_another_to_finish(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"end": "hangs"})
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    running = start(scripted)
    eventually(scripted.starts)

    scripted.worker.stopping.set()
    running.join(10)

    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts, trial.worker) == ("queued", 0, None)
    assert is_gone(scripted.starts()[0]["pid"])
    scripted.set_script()
    other = scripted.with_settings()
    other.run_all()
    assert other.experiment(experiment_id).status == "succeeded"


@pytest.mark.parametrize("stage_of_experiment", ["queued", "between phases"])
def test_experiment_that_runs_nowhere_is_cancelled_at_once(scripted: ScriptedWorker, stage_of_experiment: str) -> None:
    experiment_id = scripted.submit()
    if stage_of_experiment == "between phases":
        work.run_next_trial(scripted.worker, "cpu")
    assert cancel(scripted, experiment_id) == "cancelled"
    assert scripted.run_all() == 0
    assert "queued" not in scripted.statuses(experiment_id).values()


@pytest.mark.parametrize("name", ["CNN_v1/W3", "CNN_v1/LowLR", "final"])
def test_running_trial_of_any_phase_is_cancelled_within_ten_seconds(scripted: ScriptedWorker, name: str) -> None:
    scripted.set_script(**{name.replace("/", "_"): {"end": "hangs"}})
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=["LowLR"])
    running = Thread(target=scripted.run_all, daemon=True)
    running.start()
    hanging = eventually(lambda: [start for start in scripted.starts() if start["name"] == name])[0]

    cancelled_at = time.monotonic()
    assert cancel(scripted, experiment_id) == "cancelling"
    eventually(lambda: scripted.experiment(experiment_id).status == "cancelled")

    assert time.monotonic() - cancelled_at < 10
    assert is_gone(hanging["pid"])
    assert scripted.statuses(experiment_id)[name] == "cancelled"
    running.join(10)
    assert scripted.openings() == []


def test_worker_that_lost_its_lease_kills_its_process_and_writes_nothing(scripted: ScriptedWorker) -> None:
    # Given a trial that another worker claims while the first still runs it
    scripted.set_script(every={"end": "hangs"})
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    running = start(scripted)
    first = eventually(scripted.starts)[0]
    lease_runs_out(scripted.database)
    scripted.set_script()

    # When the other finishes it
    other = scripted.with_settings()
    work.run_next_trial(other.worker, "cpu")
    running.join(15)

    # Then the first's process is gone and the record is the other's
    assert is_gone(first["pid"])
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.worker, trial.fence) == ("succeeded", "other:1", 2)


def test_outcome_of_a_dead_worker_is_adopted_and_not_repeated(scripted: ScriptedWorker) -> None:
    # Given a final trial whose worker died between its end and its record
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    work.run_next_trial(scripted.worker, "cpu")
    claimed = claim(scripted)
    work._attempt(scripted.worker, claimed, scripted.worker.free_slots.get())
    lease_runs_out(scripted.database)

    # When a worker of that machine claims it again
    other = scripted.with_settings()
    other.run_all()

    # Then the test set was opened once, and its figures are on record
    assert [start["name"] for start in scripted.starts()].count("final") == 1
    assert scripted.experiment(experiment_id).status == "succeeded"
    assert len(scripted.openings()) == 1


def test_each_attempt_has_a_folder_of_its_own_and_goes_on_from_the_furthest_before(scripted: ScriptedWorker) -> None:
    # Given a trial of which two attempts on this machine left a resume point, the first the further one
    scripted.submit(architectures=["CNN_v1"], strategies=[])
    for epochs in (3, 1):
        lost = claim(scripted)
        folder = attempt_folder(scripted.worker, lost)
        folder.mkdir(parents=True)
        resume_point(folder, epochs)
        lease_runs_out(scripted.database)

    # When a third one begins
    third = claim(scripted)
    folder = attempt_folder(scripted.worker, third)
    adopt_earlier(folder)

    # Then it has the first one's epochs, and the second one's folder is still the second one's
    assert resume_store.epochs_behind(folder) == 3
    assert sorted(path.name for path in folder.parent.iterdir()) == ["2", "3"]


def test_attempt_without_a_lease_writes_into_no_files_of_a_later_one(scripted: ScriptedWorker) -> None:
    # Given an attempt that hangs while its worker is lost
    scripted.set_script(every={"end": "hangs"})
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    slow = claim(scripted)
    supervised = Thread(target=work._attempt, args=(scripted.worker, slow, Slot()), daemon=True)
    supervised.start()
    eventually(scripted.starts)
    eventually((attempt_folder(scripted.worker, slow) / "messages.jsonl").exists)
    lease_runs_out(scripted.database)

    # When a later one runs on the same machine, and then the first one writes again
    scripted.set_script()
    assert work.run_next_trial(scripted.with_settings().worker, "cpu")
    with pytest.raises(FileNotFoundError):
        append_message(attempt_folder(scripted.worker, slow), Started())

    # Then the record is the later one's alone
    supervised.join(15)
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.fence, trial.epochs_done) == ("succeeded", 2, 2)


@pytest.mark.parametrize("end", ["cancelled", "lease lost", "failed to record"])
def test_bundle_that_is_not_recorded_is_removed_from_the_store(scripted: ScriptedWorker, end: str) -> None:
    # Given a final trial that has stored its bundle
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    work.run_next_trial(scripted.worker, "cpu")
    final = claim(scripted)
    ended = work._attempt(scripted.worker, final, Slot())
    assert isinstance(ended.outcome, Finalized)
    store_key = ended.outcome.store_key
    scripted.worker.storage.put_file(scripted.script, f"{store_key}/model.onnx")

    # When its result may not be recorded
    if end == "cancelled":
        cancel(scripted, experiment_id)
    elif end == "lease lost":
        shutil.rmtree(attempt_folder(scripted.worker, final))
        lease_runs_out(scripted.database)
        assert scripted.run_all() == 1
    else:
        ended = Exit(reason="finished", outcome=Failed(error_kind="Refused", message=""))
    work._record(scripted.worker, final, ended)
    work._follow_up(scripted.worker, final)

    # Then the store holds no bundle that no model names
    assert not scripted.worker.storage.exists(store_key)
    assert len(scripted.models()) == (1 if end == "lease lost" else 0)


def test_bundle_of_a_worker_that_died_is_removed_when_its_experiment_is_cancelled(scripted: ScriptedWorker) -> None:
    # Given a worker that died after its final trial stored a bundle, and a cancellation
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    work.run_next_trial(scripted.worker, "cpu")
    final = claim(scripted)
    store_key = f"models/{model_version(final.trial_id, final.fence)}"
    scripted.worker.storage.put_file(scripted.script, f"{store_key}/model.onnx")
    cancel(scripted, experiment_id)
    with scripted.database.write() as session:
        session.execute(update(Trial).where(Trial.id == final.trial_id).values(lease_expires_at=now(session)))

    # When the sweeper reclaims its trial
    sweeper = Sweeper(scripted.worker)
    sweeper._database_answers_since = 0.0
    sweeper.sweep()

    # Then the experiment is cancelled, and the store holds nothing of it
    assert scripted.experiment(experiment_id).status == "cancelled"
    assert not scripted.worker.storage.exists(store_key)


def test_full_disk_beside_the_job_fails_the_attempt_clearly(
    scripted: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    experiment_id = scripted.submit(architectures=["CNN_v1"])
    with monkeypatch.context() as patch:
        patch.setattr("workers.trial.protocol.write", full)
        scripted.run_all()
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts) == ("failed", 3)
    assert trial.error is not None
    assert "No space left on device" in trial.error["message"]


def test_resume_point_goes_with_a_released_trial(scripted: ScriptedWorker) -> None:
    # Given a trial that has finished three epochs when its worker stops
    scripted.set_script(every={"end": "hangs"})
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    running = start(scripted)
    trial_id = eventually(scripted.starts)[0]["trial_id"]
    resume_point(trial_folder(scripted.worker, trial_id) / "1", epochs=3)
    Timer(0.1, scripted.worker.stopping.set).start()
    running.join(10)

    # When a worker with another disk continues it
    scripted.set_script()
    elsewhere = scripted.with_settings(work_root=scripted.worker.settings.work_root / "elsewhere")
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.resume_epochs, scripted.worker.storage.keys(f"resume/{trial_id}")) == (3, [trial.resume_key])
    work.run_next_trial(elsewhere.worker, "cpu")

    # Then nothing of it is left once the trial has ended
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.resume_key, trial.resume_epochs) == ("succeeded", None, 0)
    assert scripted.worker.storage.keys(f"resume/{trial_id}") == []


def test_trial_on_each_gpu_sees_that_one_alone(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"seconds": 0.3})
    owner = scripted.with_settings(gpus="4, 7")
    owner.submit(architectures=["CNN_v1", "CNN_v2"], queue="gpu")
    threads = [Thread(target=work.run_next_trial, args=(owner.worker, "gpu")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(start["gpu"] for start in owner.starts()) == ["4", "7"]


def claim(scripted: ScriptedWorker) -> runs.Claim:
    from datetime import timedelta

    with scripted.database.write() as session:
        found = runs.claim_next(session, ["cpu"], scripted.worker.name, timedelta(minutes=1))
    assert found is not None
    return found


def resume_point(folder: Path, epochs: int) -> None:
    (folder / "resume").mkdir()
    history = json.dumps({"run": "acted", "epochs": [{}] * epochs}).encode()
    np.savez(folder / "resume" / "state.npz", history=np.frombuffer(history, dtype=np.uint8))


def test_a_worker_whose_disk_is_full_leaves_trials_to_others(
    scripted: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    experiment_id = scripted.submit()
    full = scripted.with_settings(least_scratch_bytes=2**60)
    assert full.run_all() == 0
    assert "no trial is taken" in caplog.text
    assert {trial.attempts for trial in scripted.trials(experiment_id).values()} == {0}
    assert scripted.run_all() > 0
