"""Sessions of browsers: a cookie replaces the API key that signed in, while both are valid."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import SignIn

COOKIE = "dermatriage_session"
LIFETIME = timedelta(hours=12)
# Of one key: a script that signs in repeatedly ends its own old sessions instead of filling the table.
MAX_SESSIONS = 20


@dataclass(frozen=True)
class ActiveSession:
    """A session that has not expired: the key it began with, and when it expires."""

    key_id: str
    expires_at: datetime


def begin(session: Session, key_id: str) -> str:
    """Stores a new session and returns its cookie, which is not stored.

    Deletes the sessions that have expired, and the key's oldest beyond `MAX_SESSIONS`.
    """
    moment = now(session)
    session.execute(delete(SignIn).where(SignIn.expires_at <= moment))
    of_key = select(SignIn.token_sha256).where(SignIn.key_id == key_id)
    kept = of_key.order_by(SignIn.created_at.desc()).limit(MAX_SESSIONS - 1)
    session.execute(delete(SignIn).where(SignIn.key_id == key_id, SignIn.token_sha256.not_in(kept)))
    cookie = secrets.token_urlsafe(32)
    session.add(
        SignIn(token_sha256=digest(cookie), key_id=key_id, created_at=moment, expires_at=moment + LIFETIME),
    )
    return cookie


def end(session: Session, cookie: str) -> None:
    session.execute(delete(SignIn).where(SignIn.token_sha256 == digest(cookie)))


def active(session: Session) -> Mapping[str, ActiveSession]:
    """Every session that has not expired, by the sha256 of its cookie."""
    rows = session.scalars(select(SignIn).where(SignIn.expires_at > now(session)))
    return {row.token_sha256: ActiveSession(row.key_id, row.expires_at) for row in rows}


def digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def form_token(cookie: str) -> str:
    """The CSRF token of this session's forms: derived from the cookie, which another site cannot read."""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()
