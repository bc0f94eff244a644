"""API keys: created, shown once, checked by their hash, rotated and revoked.

A key has the form ``dt_PREFIX_SECRET``. The prefix names it in lists and logs. Of the secret only the sha256 is stored:
nobody can guess 160 random bits, so a slow hash would only slow down the answers.
"""

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from anyio import to_thread
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models_store.database import Database, now
from models_store.tables import ApiKey
from service.access import sessions

log = logging.getLogger(__name__)

Scope = Literal["read", "predict", "verify", "submit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FORM = re.compile(r"dt_([a-z0-9]{8})_([a-z0-9]{32})")
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # base32: 32 characters carry 160 bits
# However many unknown keys are tried, they refresh the keyring at most this often.
MIN_REFRESH_SECONDS = 0.25


class KeyNotFound(LookupError):
    """No usable key has that id or prefix."""


class KeyRefused(ValueError):
    """The name or the scopes of a new key are not valid."""


@dataclass(frozen=True)
class KeyInUse:
    """What a web process keeps of a key in memory."""

    id: str
    name: str
    secret_sha256: str
    scopes: frozenset[str]
    expires_at: datetime | None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def create(session: Session, name: str, scopes: list[Scope], expires: timedelta | None = None) -> tuple[ApiKey, str]:
    """Stores a key; returns it with its text, which is not stored. `admin` is every scope. Raises `KeyRefused`."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise KeyRefused(f"unknown scope {', '.join(unknown) or '(none)'}; choose from {', '.join(SCOPES)}")
    if not name.strip() or not name.isprintable() or len(name) > 200:
        raise KeyRefused("a key needs a name of 1 to 200 printable characters")
    prefix, secret = _random(8), _random(32)
    moment = now(session)
    key = ApiKey(
        name=name,
        prefix=prefix,
        secret_sha256=_digest(secret),
        scopes=sorted(set(scopes)),
        created_at=moment,
        expires_at=None if expires is None else moment + expires,
    )
    session.add(key)
    session.flush()
    return key, f"dt_{prefix}_{secret}"


def rotate(session: Session, key: str, overlap: timedelta) -> tuple[ApiKey, str]:
    """Creates a successor of `key`, which stays valid for `overlap`. Raises `KeyNotFound`."""
    old = _usable(session, key)
    moment = now(session)
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    successor = create(session, old.name, list(old.scopes), lifetime)  # type: ignore[arg-type]
    end = moment + overlap
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
    return successor


def revoke(session: Session, key: str) -> ApiKey:
    """Revokes a key; every web process refuses it a second later. Raises `KeyNotFound`."""
    found = _usable(session, key)
    found.revoked_at = now(session)
    return found


def _usable(session: Session, key: str) -> ApiKey:
    found = session.scalar(select(ApiKey).where((ApiKey.id == key) | (ApiKey.prefix == key)))
    if found is None or found.revoked_at is not None:
        raise KeyNotFound(f"no key in use is called {key}; `dermatriage keys list` shows them all")
    return found


class Keyring:
    """The keys that one web process keeps in memory and refreshes, so that no request queries the database.

    While the database is unreachable, the keys read last stay valid.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[str, KeyInUse] = {}
        self._sessions: Mapping[str, sessions.ActiveSession] = {}
        self._refresh_began = self._cached_since = float("-inf")
        self._used: dict[str, datetime] = {}
        self._lock = threading.Lock()

    async def find_or_refresh(self, find: Callable[[str], KeyInUse | None], text: str) -> KeyInUse | None:
        """`find(text)`, repeated after a refresh if it finds nothing, because the key may be new.

        However many unknown keys are tried, the database is queried four times a second.
        """
        if (known := find(text)) is not None:
            return known
        requested_at = time.monotonic()
        await asyncio.sleep(max(0.0, self._refresh_began + MIN_REFRESH_SECONDS - requested_at))
        if self._cached_since < requested_at:
            await to_thread.run_sync(self.refresh, requested_at)
        return find(text)

    def refresh(self, unless_since: float = float("inf")) -> None:
        """Reads the keys and writes when they were used, unless a refresh that began later has ended. Never raises."""
        with self._lock:
            if self._cached_since >= unless_since:
                return
            self._refresh_began = time.monotonic()
            try:
                self._write_last_use()
                with self._database.read() as session:
                    rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
                    self._cached = {
                        row.prefix: KeyInUse(row.id, row.name, row.secret_sha256, frozenset(row.scopes), row.expires_at)
                        for row in rows
                    }
                    self._sessions = sessions.active(session)
            except SQLAlchemyError as error:
                log.warning("the API keys could not be read from the database: %s", type(error).__name__)
            self._cached_since = self._refresh_began

    def find(self, text: str) -> KeyInUse | None:
        """The key with this text, if it is valid now. Its use is recorded."""
        return self._record_use(self.valid_key(text))

    def find_by_cookie(self, cookie: str) -> KeyInUse | None:
        """The key that the session of this cookie began with, if both are valid now. Its use is recorded."""
        return self._record_use(self.valid_session_key(cookie))

    def valid_key(self, text: str) -> KeyInUse | None:
        form = FORM.fullmatch(text)
        known = self._cached.get(form[1]) if form else None
        if form is None or known is None or not hmac.compare_digest(known.secret_sha256, _digest(form[2])):
            return None
        return _unexpired(known)

    def valid_session_key(self, cookie: str) -> KeyInUse | None:
        active = self._sessions.get(sessions.digest(cookie))
        if active is None or active.expires_at <= datetime.now(UTC):
            return None
        known = next((key for key in self._cached.values() if key.id == active.key_id), None)
        return None if known is None else _unexpired(known)

    def _record_use(self, known: KeyInUse | None) -> KeyInUse | None:
        if known is not None:
            self._used[known.id] = datetime.now(UTC)
        return known

    def _write_last_use(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            with self._database.write() as session:
                for key_id, moment in used.items():
                    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=moment))
        except SQLAlchemyError:
            self._used = used | self._used
            raise


def _unexpired(known: KeyInUse) -> KeyInUse | None:
    return known if known.expires_at is None or known.expires_at > datetime.now(UTC) else None


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
