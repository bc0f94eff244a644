"""Workers and queues: heartbeats from the broker, joined with leases from the database."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.broker import redis_at
from models_store.presence import Presence, present
from models_store.tables import Event, Experiment, Trial
from service.system.schemas import EventRead, QueueRead, RunningTrial, WorkerRead

QUEUES = ("cpu", "gpu")
EXPERIMENTS_READ = 20
EVENTS_SHOWN = 30

LiveWorkers = Sequence[tuple[Presence, float]]


def live_workers(broker_url: str) -> LiveWorkers | None:
    """The workers with a recent heartbeat, and its age in seconds; None while the broker does not answer."""
    try:
        with redis_at(broker_url) as broker:
            return present(broker)
    except (RedisError, OSError, ValueError):
        return None


def slots(live: LiveWorkers, queue: str) -> int:
    """How many trials of `queue` the active workers run at once."""
    return sum(presence.slots for presence, _ in live if queue in presence.queues)


def workers(session: Session, live: LiveWorkers, moment: datetime) -> list[WorkerRead]:
    """The workers with a recent heartbeat, then those that hold a trial without one."""
    held = _held(session, moment)
    reporting = [_reporting(presence, age, held.pop(presence.name, [])) for presence, age in live]
    return reporting + [_without_heartbeat(name, running) for name, running in sorted(held.items())]


def queues(session: Session, live: LiveWorkers, moment: datetime) -> list[QueueRead]:
    counted = select(Trial.queue, func.count(), func.min(Trial.created_at)).where(Trial.status == "queued")
    waiting = {queue: (number, oldest) for queue, number, oldest in session.execute(counted.group_by(Trial.queue))}
    shown = []
    for name in (*QUEUES, *sorted(waiting.keys() - set(QUEUES))):
        number, oldest = waiting.get(name, (0, None))
        shown.append(
            QueueRead(
                name=name,
                waiting=number,
                oldest_seconds=None if oldest is None else (moment - oldest).total_seconds(),
                slots=slots(live, name),
            )
        )
    return shown


def recent_events(session: Session) -> list[EventRead]:
    """The events of the latest experiments only, so that the query stays fast however many events there are."""
    latest = select(Experiment.id).order_by(Experiment.created_at.desc()).limit(EXPERIMENTS_READ)
    chosen = (
        select(Event)
        .where(Event.experiment_id.in_(session.scalars(latest).all()), Event.kind != "epoch")
        .order_by(Event.created_at.desc(), Event.number.desc())
        .limit(EVENTS_SHOWN)
    )
    return [EventRead.model_validate(event) for event in session.scalars(chosen)]


def _held(session: Session, moment: datetime) -> dict[str, list[RunningTrial]]:
    chosen = select(Trial).where(Trial.status.in_(("running", "cancelling")), Trial.worker.is_not(None))
    by_worker: dict[str, list[RunningTrial]] = defaultdict(list)
    for trial in session.scalars(chosen.order_by(Trial.started_at)):
        if trial.lease_expires_at is not None:
            by_worker[str(trial.worker)].append(
                RunningTrial(
                    trial_id=trial.id,
                    experiment_id=trial.experiment_id,
                    name=trial.name,
                    phase=trial.phase,
                    epochs_done=trial.epochs_done,
                    lease_seconds_left=(trial.lease_expires_at - moment).total_seconds(),
                )
            )
    return by_worker


def _reporting(presence: Presence, age: float, running: Iterable[RunningTrial]) -> WorkerRead:
    fields = vars(presence) | {"heard_seconds_ago": round(age, 1), "running": list(running)}
    return WorkerRead.model_validate({name: value for name, value in fields.items() if name != "host"})


def _without_heartbeat(name: str, running: Iterable[RunningTrial]) -> WorkerRead:
    missing = dict.fromkeys(("heard_seconds_ago", "slots", "cores", "python", "version", "commit", "started_at"))
    return WorkerRead.model_validate({**missing, "name": name, "queues": [], "gpus": [], "running": list(running)})
