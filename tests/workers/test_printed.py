"""The log of a trial can be read while it runs and after its folder is removed."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from models_store import runs
from models_store.tables import TrialLog
from tests.workers.conftest import ScriptedWorker
from workers.worker.context import attempt_folder, trial_folder
from workers.worker.watch import STORED_LOG_BYTES, Watch, read_log


def kept(scripted: ScriptedWorker) -> list[TrialLog]:
    with scripted.database.read() as session:
        return list(session.scalars(select(TrialLog)))


def test_only_the_end_of_a_long_log_is_kept(tmp_path: Path) -> None:
    assert read_log(tmp_path) is None
    (tmp_path / "log.txt").write_bytes(b"\xff" + b"a" * STORED_LOG_BYTES + b"the end")
    printed = read_log(tmp_path)
    assert printed is not None
    assert printed.text.endswith("athe end")
    assert (len(printed.text), printed.size) == (STORED_LOG_BYTES, STORED_LOG_BYTES + 8)
    assert read_log(tmp_path, printed.size) is None


def test_log_of_a_trial_outlives_its_folder(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"prints": "Epoch 1\0 of 2"})
    experiment_id = scripted.submit(strategies=[], architectures=["CNN_v1"])
    scripted.run_all()
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert not trial_folder(scripted.worker, trial.id).exists()
    (log,) = (log for log in kept(scripted) if log.trial_id == trial.id)
    assert (log.text, log.is_whole, log.attempt) == ("Epoch 1\N{REPLACEMENT CHARACTER} of 2\n", True, 1)


def test_log_of_a_running_trial_comes_with_its_epochs(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    with scripted.database.write() as session:
        claim = runs.claim_next(session, ["cpu"], scripted.worker.name, timedelta(minutes=1))
    assert claim is not None
    watch = Watch(scripted.worker, claim)
    folder = attempt_folder(scripted.worker, claim)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("it has begun")
    watch([{"kind": "started"}])
    assert [log.text for log in kept(scripted)] == ["it has begun"]
    assert claim.experiment_id == experiment_id


def test_a_worker_that_lost_its_trial_writes_no_log(scripted: ScriptedWorker) -> None:
    scripted.submit()
    with scripted.database.write() as session:
        claim = runs.claim_next(session, ["cpu"], scripted.worker.name, timedelta(minutes=1))
    assert claim is not None
    printed = attempt_folder(scripted.worker, claim)
    printed.mkdir(parents=True)
    (printed / "log.txt").write_text("too late")
    lost = runs.Claim(claim.trial_id, claim.experiment_id, claim.fence - 1, 0, claim.kind)
    assert Watch(scripted.worker, lost)([{"kind": "started"}]) == "lost"
    assert kept(scripted) == []
