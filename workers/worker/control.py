"""Answers control messages beside the Celery worker, whose slots trials may fill for hours.

A second Celery worker would do, but two in one process share kombu's event loop, which only one thread may turn.
"""

import logging
from threading import Thread
from typing import Any

from kombu import Connection, Consumer, Message
from kombu.mixins import ConsumerMixin

from models_store.broker import ADVANCE, CONTROL_QUEUE
from workers.worker import work
from workers.worker.context import Worker

log = logging.getLogger(__name__)


class ControlDesk(ConsumerMixin):  # type: ignore[misc]
    """Takes messages of the control queue, one at a time, and waits for a broker that is away."""

    def __init__(self, worker: Worker) -> None:
        self.connection: Connection = worker.celery.connection_for_read()
        self._worker = worker
        self._queue = worker.celery.amqp.queues[CONTROL_QUEUE]

    def get_consumers(self, make_consumer: Any, channel: Any) -> list[Consumer]:  # noqa: ARG002
        return [make_consumer([self._queue], callbacks=[self.answer], accept=["json"], prefetch_count=1)]

    def answer(self, body: Any, message: Message) -> None:
        """Never raises: what could not be done now, the sweeper sees to."""
        try:
            if message.headers.get("task") == ADVANCE:
                (experiment_id,), _keywords, _canvas = body
                work.advance(self._worker, experiment_id)
        except Exception:
            log.exception("a control message was not answered: %r", body)
        finally:
            message.ack()


def answer_in_background(worker: Worker) -> None:
    Thread(target=ControlDesk(worker).run, name="control", daemon=True).start()
