"""The outbox of webhooks: enqueued in the transaction that ends an experiment, sent by the sweeper, with backoff."""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import Delivery

MOST_ATTEMPTS = 10
FIRST_RETRY_SECONDS = 10.0
SLOWEST_RETRY_SECONDS = 3600.0


def enqueue_delivery(session: Session, experiment_id: str, status: str) -> None:
    moment = now(session)
    session.add(Delivery(experiment_id=experiment_id, status=status, due_at=moment, created_at=moment))
    session.flush()


def take_due(session: Session, hold: timedelta) -> Delivery | None:
    """The longest due delivery, or None. Nobody else gets it while the caller sends it, for `hold` at most."""
    moment = now(session)
    due = (
        select(Delivery)
        .where(Delivery.state == "pending", Delivery.due_at <= moment)
        .order_by(Delivery.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    delivery = session.scalar(due)
    if delivery is not None:
        delivery.attempts += 1
        delivery.due_at = moment + hold
    return delivery


def delivered(session: Session, delivery_id: str) -> None:
    sent = {"state": "delivered", "delivered_at": now(session), "last_error": None}
    session.execute(update(Delivery).where(Delivery.id == delivery_id).values(**sent))


def not_delivered(session: Session, delivery_id: str, error: str) -> None:
    """Puts the delivery off, each time for twice as long, or gives it up after `MOST_ATTEMPTS`."""
    delivery = session.get_one(Delivery, delivery_id)
    delivery.last_error = error
    if delivery.attempts >= MOST_ATTEMPTS:
        delivery.state = "given_up"
    else:
        delivery.due_at = _next_attempt(now(session), delivery.attempts)


def _next_attempt(moment: datetime, attempts: int) -> datetime:
    return moment + timedelta(seconds=min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), SLOWEST_RETRY_SECONDS))
