"""Model versions and the alias `champion`: register, promote, roll back, and the history of who did what and why."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import Alias, Model, Promotion

CHAMPION = "champion"


class ModelNotFound(LookupError):
    """No model has that version."""


class NothingToRollBackTo(LookupError):
    """The champion has no predecessor."""


class RevisionChanged(RuntimeError):
    """The alias moved since the caller looked at it."""


def champion(session: Session) -> Model | None:
    return session.scalar(select(Model).join(Alias, Alias.version == Model.version).where(Alias.name == CHAMPION))


def revision(session: Session) -> int:
    """Counts the moves of `champion`; 0 before the first."""
    return session.scalar(select(Alias.revision).where(Alias.name == CHAMPION)) or 0


def model(session: Session, version: str) -> Model:
    found = session.get(Model, version)
    if found is None:
        raise ModelNotFound(f"there is no model {version}; GET /v1/models lists those there are")
    return found


def promote(
    session: Session, version: str, *, actor: str, reason: str, expected_revision: int | None = None
) -> Promotion:
    """Makes `version` the champion. Raises `RevisionChanged` unless the alias is at `expected_revision`, if given."""
    model(session, version)
    return _move(session, version, "promote", actor, reason, expected_revision)


def roll_back(session: Session, *, actor: str, reason: str, expected_revision: int | None = None) -> Promotion:
    """Makes the champion's predecessor champion again; rolling back twice goes back two promotions."""
    undone: list[Promotion] = []
    for step in session.scalars(select(Promotion).where(Promotion.alias == CHAMPION).order_by(Promotion.id)):
        if step.action == "rollback":
            undone.pop()
        else:
            undone.append(step)
    if not undone or undone[-1].previous is None:
        raise NothingToRollBackTo("no champion came before this one; promote another version instead")
    return _move(session, undone[-1].previous, "rollback", actor, reason, expected_revision)


def history(session: Session) -> Sequence[Promotion]:
    """Newest first."""
    return session.scalars(select(Promotion).where(Promotion.alias == CHAMPION).order_by(Promotion.id.desc())).all()


def _move(session: Session, version: str, action: str, actor: str, reason: str, expected: int | None) -> Promotion:
    alias = session.get(Alias, CHAMPION, with_for_update=True)
    found = 0 if alias is None else alias.revision
    if expected is not None and expected != found:
        raise RevisionChanged(f"the champion is at revision {found}, not {expected}; read it again and decide anew")
    moment = now(session)
    if alias is None:
        session.add(Alias(name=CHAMPION, version=version, revision=1, changed_at=moment))
    else:
        session.execute(
            update(Alias)
            .where(Alias.name == CHAMPION, Alias.revision == found)
            .values(version=version, revision=found + 1, changed_at=moment)
        )
    previous = None if alias is None else alias.version
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
