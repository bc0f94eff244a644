"""Model versions and the alias `champion`: promote, roll back, delete, and the history with actor and reason."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import Alias, Model, Promotion

CHAMPION = "champion"


class ModelNotFound(LookupError):
    """No model has that version, or it was deleted."""


class NothingToRollBackTo(LookupError):
    """The champion has no predecessor, or it was deleted."""


class ModelIsChampion(RuntimeError):
    """The champion cannot be deleted."""


class RevisionChanged(RuntimeError):
    """The alias has changed since the caller read it."""


def champion(session: Session) -> Model | None:
    return session.scalar(select(Model).join(Alias, Alias.version == Model.version).where(Alias.name == CHAMPION))


def revision(session: Session) -> int:
    """Counts the moves of `champion`; 0 before the first."""
    return session.scalar(select(Alias.revision).where(Alias.name == CHAMPION)) or 0


def model(session: Session, version: str, *, deleted: bool = False, lock: bool = False) -> Model:
    """`lock` keeps others from changing it until the transaction ends.

    Raises `ModelNotFound`, also for a deleted model unless `deleted` allows it.
    """
    found = session.get(Model, version, with_for_update=lock, populate_existing=lock)
    if found is None:
        raise ModelNotFound(f"there is no model {version}; GET /v1/models lists those there are")
    if found.deleted_at is not None and not deleted:
        raise ModelNotFound(f"model {version} was deleted by {found.deleted_by} at {found.deleted_at.isoformat()}")
    return found


def delete(session: Session, version: str, actor: str) -> None:
    """Deletes a model; a second call changes nothing. Its row stays as a record; the sweeper removes its bundle.

    Raises `ModelNotFound` or `ModelIsChampion`.
    """
    found = model(session, version, deleted=True, lock=True)  # a promotion waits for this lock, or has happened
    if found.deleted_at is not None:
        return
    if session.scalar(select(Alias.version).where(Alias.version == version)) is not None:
        raise ModelIsChampion(f"model {version} is the champion, which answers predictions")
    found.deleted_at, found.deleted_by = now(session), actor


def promote(
    session: Session, version: str, *, actor: str, reason: str, expected_revision: int | None = None
) -> Promotion:
    """Makes `version` the champion. Raises `RevisionChanged` unless the alias is at `expected_revision`, if given."""
    model(session, version)
    return _move(session, version, "promote", actor, reason, expected_revision)


def roll_back(session: Session, *, actor: str, reason: str, expected_revision: int | None = None) -> Promotion:
    """Makes the champion's predecessor champion again; rolling back twice goes back two promotions."""
    session.get(Alias, CHAMPION, with_for_update=True)  # so that the history cannot change
    before = predecessor(session)
    if before is None:
        raise NothingToRollBackTo("no champion came before this one, or it was deleted; promote another version")
    return _move(session, before, "rollback", actor, reason, expected_revision)


def predecessor(session: Session) -> str | None:
    """The version that a roll-back would make champion; None where there is none, or it was deleted."""
    promotions: list[Promotion] = []
    for step in session.scalars(select(Promotion).where(Promotion.alias == CHAMPION).order_by(Promotion.id)):
        if step.action == "rollback":
            promotions.pop()
        else:
            promotions.append(step)
    before = promotions[-1].previous if promotions else None
    return None if before is None or session.get_one(Model, before).deleted_at is not None else before


def history(session: Session) -> Sequence[Promotion]:
    """Newest first."""
    return session.scalars(select(Promotion).where(Promotion.alias == CHAMPION).order_by(Promotion.id.desc())).all()


def _alias(session: Session, version: str, moment: datetime) -> Alias:
    """The locked alias; at revision 0 if this transaction makes it."""
    alias = session.get(Alias, CHAMPION, with_for_update=True, populate_existing=True)
    if alias is not None:
        return alias
    alias = Alias(name=CHAMPION, version=version, revision=0, changed_at=moment)
    try:
        with session.begin_nested():
            session.add(alias)
    except IntegrityError:  # on PostgreSQL another first promotion may have been faster
        return session.get_one(Alias, CHAMPION, with_for_update=True, populate_existing=True)
    return alias


def _move(session: Session, version: str, action: str, actor: str, reason: str, expected: int | None) -> Promotion:
    moment = now(session)
    alias = _alias(session, version, moment)
    model(session, version, lock=True)
    if expected is not None and expected != alias.revision:
        raise RevisionChanged(
            f"the champion is at revision {alias.revision}, not {expected}; read it again and decide again"
        )
    previous = None if alias.revision == 0 else alias.version
    alias.version, alias.revision, alias.changed_at = version, alias.revision + 1, moment
    step = Promotion(
        alias=CHAMPION,
        version=version,
        previous=previous,
        action=action,
        actor=actor,
        reason=reason,
        created_at=moment,
    )
    session.add(step)
    session.flush()
    return step
