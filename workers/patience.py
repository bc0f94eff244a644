"""Waiting out a database that is away for a while."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
PATIENCE_SECONDS = 600.0


def patiently(transaction: Callable[[], AbstractContextManager[Session]], step: Callable[[Session], Answer]) -> Answer:
    """Does one step in one transaction, again until the database answers.

    Raises `sqlalchemy.exc.OperationalError` after `PATIENCE_SECONDS`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with transaction() as session:
                return step(session)
        except DatabaseUnreachable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("the database did not answer, trying again: %s", error)
            time.sleep(1)
