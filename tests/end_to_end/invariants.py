"""What holds of every experiment, whatever was killed while it ran."""

from collections import Counter

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.database import Database
from models_store.tables import Event, Experiment, Model, TestOpening, Trial
from tests.end_to_end.stack import Stack, eventually

TERMINAL = ("succeeded", "failed", "cancelled")


def hold(stack: Stack, experiment_ids: list[str], *, most_starts: int) -> None:
    """Fails unless the experiments ended, each phase once and with one winner, and nothing of them is left."""
    database = Database(stack.database_url)
    with database.read() as session:
        for experiment_id in experiment_ids:
            _ended_once(session, session.get_one(Experiment, experiment_id))
    database.close()
    starts = Counter(start["trial_id"] for start in stack.starts() if start["experiment_id"] in experiment_ids)
    assert max(starts.values(), default=0) <= most_starts, f"a trial was started {max(starts.values())} times"
    eventually(lambda: not _acting(stack), 10, "the end of every trial's process")
    eventually(lambda: not list((stack.folder / "work").glob("trl_*")), 10, "the removal of the trials' folders")


def _ended_once(session: Session, experiment: Experiment) -> None:
    assert experiment.status in TERMINAL
    events = session.scalars(select(Event).where(Event.experiment_id == experiment.id).order_by(Event.number)).all()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    ends = [event for event in events if event.kind == "experiment" and event.data["status"] in TERMINAL]
    assert [event.data["status"] for event in ends] == [experiment.status]
    phases = [event.data["phase"] for event in events if event.kind == "phase"]
    assert phases == list(range(1, experiment.phase + 1))
    trials = session.scalars(select(Trial).where(Trial.experiment_id == experiment.id)).all()
    assert {trial.status for trial in trials} <= {*TERMINAL, "collapsed"}
    starts = {trial.spec["starts_from"]["trial_id"] for trial in trials if trial.phase == 2}
    assert len(starts) <= 1, "fine-tuning started from two winners"
    done = 1 if experiment.status == "succeeded" else 0
    for table in (Model, TestOpening):
        of_it = select(func.count()).select_from(table).where(table.experiment_id == experiment.id)
        assert session.scalar(of_it) == done, f"{table.__tablename__} of {experiment.id}"


def _acting(stack: Stack) -> list[int]:
    return [pid for pid, command in stack.marked().items() if "scripted_trial" in command]
