"""Cursor pages, newest first: an item inserted between two requests neither repeats nor hides another."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from dermatriage_client.problems import Finding
from dermatriage_client.schemas import Page
from service.errors import unprocessable

Item = TypeVar("Item")
Row = TypeVar("Row")


class PageRequest(BaseModel):
    """The page that is requested: `limit` items created before `before`."""

    limit: int
    before: tuple[datetime, str] | None


def page_request(
    limit: Annotated[int, Query(ge=1, le=200, description="Most items on the page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the previous page.")] = None,
) -> PageRequest:
    return PageRequest(limit=limit, before=None if cursor is None else _decode(cursor))


RequestedPage = Annotated[PageRequest, Depends(page_request)]


def page(
    session: Session,
    query: Select[Row],
    page_request: PageRequest,
    created_at: InstrumentedAttribute[datetime],
    key: InstrumentedAttribute[str],
    shown: Callable[[Sequence[Row]], list[Item]],
) -> Page[Item]:
    """Runs `query` for one page; `key` breaks ties between rows created in the same microsecond."""
    if page_request.before is not None:
        query = query.where(_older(created_at, key, *page_request.before))
    rows = session.scalars(query.order_by(created_at.desc(), key.desc()).limit(page_request.limit + 1)).all()
    kept = rows[: page_request.limit]
    more = len(rows) > page_request.limit
    last: Any = kept[-1] if kept else None
    cursor = _encode(getattr(last, created_at.key), getattr(last, key.key)) if more else None
    return Page(items=shown(kept), next_cursor=cursor)


def _older(
    created_at: InstrumentedAttribute[datetime], key: InstrumentedAttribute[str], moment: datetime, before: str
) -> ColumnElement[bool]:
    return or_(created_at < moment, and_(created_at == moment, key < before))


def _encode(moment: datetime, key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), key]).encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        moment, key = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        when = datetime.fromisoformat(moment)
        if when.tzinfo is None or not isinstance(key, str) or not key.isprintable() or not key.isascii():
            raise ValueError("not a cursor of this service")
        return when.astimezone(UTC), key  # OverflowError at the ends of the calendar
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        finding = Finding(detail="it is not a next_cursor that this service gave out", parameter="cursor")
        raise unprocessable("the cursor cannot be read", "Start again without a cursor.", finding) from error
