"""Posts to the address in the settings that an experiment has ended or a promise is in doubt, until the answer is 2xx.

The body is JSON, signed as Standard Webhooks (https://www.standardwebhooks.com) describes, so that a receiver can
refuse what is forged, altered or replayed late.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from models_store import runs
from models_store.settings import Settings
from models_store.tables import Delivery, Experiment, Model, RecallAlert
from workers.worker.context import Worker

log = logging.getLogger(__name__)
# From the first byte sent to the last header of the answer.
ANSWER_SECONDS = 10.0
MAX_AT_ONCE = 20


class WebhookSecretMissing(ValueError):
    """A webhook without a secret could be forged by anyone."""


@dataclass(frozen=True)
class Message:
    """One webhook as it goes over the wire."""

    delivery_id: str
    body: bytes


def require_secret(settings: Settings) -> None:
    if settings.webhook_url and not settings.webhook_secret:
        raise WebhookSecretMissing(
            "DERMATRIAGE_WEBHOOK_URL is set but DERMATRIAGE_WEBHOOK_SECRET is not; set the one that the receiver uses"
        )


def send_in_background(worker: Worker) -> Thread:
    """Sends the webhooks that are due, again and again, until the worker stops.

    Experiments that ended before the address was set or changed are not reported.
    """
    sending = Thread(target=_send_until_stopped, args=(worker,), name="webhooks", daemon=True)
    sending.start()
    return sending


def send_due(worker: Worker) -> int:
    """Sends the webhooks that are due, one after another, and returns how many; none without an address.

    No transaction is open during a request: each delivery is claimed first, for longer than a request may take.
    """
    url, secret = worker.settings.webhook_url, worker.settings.webhook_secret
    if url is None or secret is None:
        return 0
    sent = 0
    while sent < MAX_AT_ONCE and not worker.stopping.is_set() and (message := _next(worker)) is not None:
        _send(worker, url, secret, message)
        sent += 1
    return sent


def signed_headers(secret: str, delivery_id: str, moment: datetime, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks. A secret that starts with `whsec_` is base64, any other is used unchanged.

    `DermaTriage-Signature`, the header of earlier versions, is sent for one more release.
    """
    key = secret if secret.startswith("whsec_") else secret.encode()
    earlier = hmac.new(secret.encode(), f"{int(moment.timestamp())}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(key).sign(delivery_id, moment, body.decode()),
        "DermaTriage-Delivery": delivery_id,
        "DermaTriage-Signature": f"t={int(moment.timestamp())},v1={earlier}",
    }


def record_address(worker: Worker) -> None:
    with worker.database.write() as session:
        runs.record_address(session, worker.settings.webhook_url)


def _send_until_stopped(worker: Worker) -> None:
    is_recorded = False
    while not worker.stopping.is_set():
        try:
            if not is_recorded:
                record_address(worker)
                is_recorded = True
            send_due(worker)
        except DatabaseUnreachable as error:
            log.warning("no webhooks were sent, the database did not answer: %s", error)
        except Exception:
            log.exception("sending webhooks failed; the next sweep tries again")
        worker.stopping.wait(worker.settings.sweep_seconds)


def _next(worker: Worker) -> Message | None:
    with worker.database.write() as session:
        delivery = runs.claim_due(session, timedelta(seconds=ANSWER_SECONDS * 3))
        if delivery is None:
            return None
        payload = _payload(session, delivery, worker.settings.address)
        return Message(delivery.id, json.dumps(payload, sort_keys=True).encode())


def _payload(session: Session, delivery: Delivery | RecallAlert, address: str) -> dict[str, Any]:
    if isinstance(delivery, RecallAlert):
        return _in_doubt(delivery, address)
    experiment = session.get_one(Experiment, delivery.experiment_id)
    figures = session.scalar(select(Model.metrics).where(Model.experiment_id == experiment.id))
    return _ended(delivery, experiment, figures or {}, address)


def _in_doubt(alert: RecallAlert, address: str) -> dict[str, Any]:
    """`PromiseInDoubt` of the client's schemas."""
    figures = alert.figures
    return {
        "type": "promise.in_doubt",
        "delivery": alert.id,
        "model_version": alert.model_version,
        "model_url": f"{address}/models/{alert.model_version}",
        "raised_at": alert.created_at.isoformat(),
        **{name: figures["estimate"][name] for name in ("recall", "low", "high")},
        **{name: figures[name] for name in ("target_recall", "confidence", "evidence", "sentences")},
    }


def _ended(delivery: Delivery, experiment: Experiment, figures: Mapping[str, Any], address: str) -> dict[str, Any]:
    """`ExperimentEnded` of the client's schemas; `figures` are those of the test set."""
    finished = experiment.finished_at
    result = experiment.result or {}
    return {
        "type": "experiment.ended",
        "delivery": delivery.id,
        "experiment": experiment.id,
        "experiment_url": f"{address}/experiments/{experiment.id}",
        "name": experiment.name,
        "status": delivery.status,
        "finished_at": None if finished is None else finished.isoformat(),
        **{name: result.get(name) for name in ("winner", "model_version", "threshold", "guarantee", "promotion")},
        **{name: figures.get(name) for name in ("recall", "specificity")},
        "error": experiment.error,
    }


def _send(worker: Worker, url: str, secret: str, message: Message) -> None:
    headers = signed_headers(secret, message.delivery_id, datetime.now(UTC), message.body)
    try:
        asyncio.run(_post(url, message.body, headers))
        error = None
    except TimeoutError:
        error = f"no complete answer within {ANSWER_SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        error = str(failure) or repr(failure)
    if error is not None:
        log.warning("webhook %s was not delivered: %s", message.delivery_id, error)
    with worker.database.write() as session:
        if error is None:
            runs.record_delivery(session, message.delivery_id)
        else:
            runs.record_failed_delivery(session, message.delivery_id, error)


async def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    """Raises `TimeoutError` or `httpx.HTTPError` unless the answer's status is 2xx. Its body is never read."""
    async with (
        asyncio.timeout(ANSWER_SECONDS),
        httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client,
        client.stream("POST", url, content=body, headers=headers) as answer,
    ):
        answer.raise_for_status()
