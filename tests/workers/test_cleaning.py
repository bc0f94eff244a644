"""What a worker clears away when it starts."""

from tests.workers.conftest import Stage
from workers.cleaning import remove_abandoned_folders


def test_a_starting_worker_removes_the_folders_of_ended_and_unknown_trials_alone(stage: Stage) -> None:
    experiment_id = stage.submit()
    ended, waiting = (trial.id for trial in stage.trials(experiment_id).values())
    stage.run_all()
    other = stage.submit()
    waiting = next(iter(stage.trials(other).values())).id
    root = stage.worker.settings.work_root
    for name in (ended, waiting, "trl_unknown"):
        (root / name / "1").mkdir(parents=True)
    remove_abandoned_folders(stage.worker)
    assert [path.name for path in root.glob("trl_*")] == [waiting]


def test_a_worker_starts_where_there_is_no_folder_yet(stage: Stage) -> None:
    elsewhere = stage.with_settings(work_root=stage.worker.settings.work_root / "none")
    remove_abandoned_folders(elsewhere.worker)
