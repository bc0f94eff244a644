"""The outbox of webhooks: enqueued in the transaction that they report, sent by the sweeper, with backoff."""

import hashlib
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import Delivery, RecallAlert, WebhookAddress

MAX_ATTEMPTS = 10
FIRST_RETRY_SECONDS = 10.0
SLOWEST_RETRY_SECONDS = 3600.0
Kind = TypeVar("Kind", Delivery, RecallAlert)


def enqueue_delivery(session: Session, experiment_id: str, status: str) -> None:
    moment = now(session)
    session.add(Delivery(experiment_id=experiment_id, status=status, due_at=moment, created_at=moment))
    session.flush()


def record_address(session: Session, url: str | None) -> None:
    """Records the address of webhooks from now on; None turns them off.

    A new address gets no webhooks about experiments that have already ended. Alerts are still sent, because each is
    raised only once and stays valid.
    """
    digest = None if url is None else hashlib.sha256(url.encode()).hexdigest()
    known = session.scalar(select(WebhookAddress).order_by(WebhookAddress.number.desc()).limit(1))
    if known is not None and known.url_sha256 == digest:
        return
    # An earlier version recorded no address: a delivery that it attempted shows that webhooks were on.
    were_on = known is None and url is not None and session.scalar(select(exists().where(Delivery.attempts > 0)))
    if not were_on:
        session.execute(update(Delivery).where(Delivery.state == "pending").values(state="skipped"))
    session.add(WebhookAddress(url_sha256=digest, since=now(session)))


def claim_due(session: Session, hold: timedelta) -> Delivery | RecallAlert | None:
    """The longest due delivery, alerts first, or None. No other sweeper gets it for the time `hold`."""
    moment = now(session)
    delivery = _longest_due(session, RecallAlert, moment) or _longest_due(session, Delivery, moment)
    if delivery is not None:
        delivery.attempts += 1
        delivery.due_at = moment + hold
    return delivery


def record_delivery(session: Session, delivery_id: str) -> None:
    """Records nothing where a retry of the experiment deleted the delivery while it was sent."""
    delivery = _delivery(session, delivery_id)
    if delivery is not None:
        delivery.state, delivery.delivered_at, delivery.last_error = "delivered", now(session), None


def record_failed_delivery(session: Session, delivery_id: str, error: str) -> None:
    """Schedules another attempt, after twice the delay each time, or gives up after `MAX_ATTEMPTS`.

    Records nothing where a retry of the experiment deleted the delivery while it was sent.
    """
    delivery = _delivery(session, delivery_id)
    if delivery is None:
        return
    delivery.last_error = error
    if delivery.attempts >= MAX_ATTEMPTS:
        delivery.state = "given_up"
    else:
        delivery.due_at = _next_attempt(now(session), delivery.attempts)


def _longest_due(session: Session, kind: type[Kind], moment: datetime) -> Kind | None:
    due = select(kind).where(kind.state == "pending", kind.due_at <= moment).order_by(kind.due_at).limit(1)
    return session.scalar(due.with_for_update(skip_locked=True))


def _delivery(session: Session, delivery_id: str) -> Delivery | RecallAlert | None:
    """Locked, so that no retry deletes it before this transaction ends."""
    alert = session.get(RecallAlert, delivery_id, with_for_update=True)
    return alert or session.get(Delivery, delivery_id, with_for_update=True)


def _next_attempt(moment: datetime, attempts: int) -> datetime:
    return moment + timedelta(seconds=min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), SLOWEST_RETRY_SECONDS))
