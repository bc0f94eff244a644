"""API keys: made, shown once, checked by their hash, rotated and revoked.

A key reads ``dt_PREFIX_SECRET``. The prefix names it in lists and logs; of the secret, 160 random bits, only the sha256
is stored: nobody can guess it, so a slow hash would only slow the answers down.
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
# A look for an unknown key asks the database at most this often, however many are tried.
LOOK_AGAIN_SECONDS = 0.25


class KeyNotFound(LookupError):
    """No usable key has that id or prefix."""


class KeyRefused(ValueError):
    """A key cannot be made as asked."""


@dataclass(frozen=True)
class Known:
    """What a web process needs to know of a key."""

    id: str
    name: str
    secret_sha256: str
    scopes: frozenset[str]
    expires_at: datetime | None

    def allows(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def create(session: Session, name: str, scopes: list[Scope], expires: timedelta | None = None) -> tuple[ApiKey, str]:
    """The stored key and, this once, its text. `admin` contains every other scope. Raises `KeyRefused`."""
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
    """A new key in place of `key`, which goes on to work for `overlap`. Raises `KeyNotFound`."""
    old = _usable(session, key)
    moment = now(session)
    lasts = None if old.expires_at is None else old.expires_at - old.created_at
    fresh = create(session, old.name, list(old.scopes), lasts)  # type: ignore[arg-type]
    end = moment + overlap
    old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
    return fresh


def revoke(session: Session, key: str) -> ApiKey:
    """Ends a key at once; every web process knows it a second later. Raises `KeyNotFound`."""
    found = _usable(session, key)
    found.revoked_at = now(session)
    return found


def _usable(session: Session, key: str) -> ApiKey:
    found = session.scalar(select(ApiKey).where((ApiKey.id == key) | (ApiKey.prefix == key)))
    if found is None or found.revoked_at is not None:
        raise KeyNotFound(f"no key in use is called {key}; `dermatriage keys list` shows them all")
    return found


class Keyring:
    """The keys as one web process knows them: read once a second, so that no request asks the database.

    While the database is away the keys known last go on to work.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Known] = {}
        self._signed_in: Mapping[str, sessions.Live] = {}
        self._began = self._knows_since = float("-inf")
        self._used: dict[str, datetime] = {}
        self._lock = threading.Lock()

    async def look_for(self, find: Callable[[str], Known | None], text: str) -> Known | None:
        """`find(text)`, after another look if need be: what it names may have been made a moment ago.

        However many unknown ones come, the database is asked four times a second.
        """
        if (known := find(text)) is not None:
            return known
        came = time.monotonic()
        await asyncio.sleep(max(0.0, self._began + LOOK_AGAIN_SECONDS - came))
        if self._knows_since < came:
            await to_thread.run_sync(self.refresh, came)
        return find(text)

    def refresh(self, unless_since: float = float("inf")) -> None:
        """Reads the keys and writes when they were used, unless a look that began later has ended. Never raises."""
        with self._lock:
            if self._knows_since >= unless_since:
                return
            self._began = time.monotonic()
            try:
                self._write_last_use()
                with self._database.read() as session:
                    rows = session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all()
                    self._known = {
                        row.prefix: Known(row.id, row.name, row.secret_sha256, frozenset(row.scopes), row.expires_at)
                        for row in rows
                    }
                    self._signed_in = sessions.live(session)
            except SQLAlchemyError as error:
                log.warning("the API keys could not be read from the database: %s", type(error).__name__)
            self._knows_since = self._began

    def find(self, text: str) -> Known | None:
        """The key that `text` is, if it may be used now. Its use is recorded."""
        return self._use(self.known(text))

    def find_signed_in(self, cookie: str) -> Known | None:
        """The key that the browser with this cookie signed in with, while both may be used. Its use is recorded."""
        return self._use(self.known_signed_in(cookie))

    def known(self, text: str) -> Known | None:
        form = FORM.fullmatch(text)
        known = self._known.get(form[1]) if form else None
        if form is None or known is None or not hmac.compare_digest(known.secret_sha256, _digest(form[2])):
            return None
        return _unexpired(known)

    def known_signed_in(self, cookie: str) -> Known | None:
        live = self._signed_in.get(sessions.digest(cookie))
        if live is None or live.expires_at <= datetime.now(UTC):
            return None
        known = next((key for key in self._known.values() if key.id == live.key_id), None)
        return None if known is None else _unexpired(known)

    def _use(self, known: Known | None) -> Known | None:
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


def _unexpired(known: Known) -> Known | None:
    return known if known.expires_at is None or known.expires_at > datetime.now(UTC) else None


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
