"""Verified outcomes: one for each prediction; a correction keeps the earlier ones."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import OutcomeRow, PredictionRow


class PredictionNotFound(LookupError):
    """No recorded prediction has that id."""


class OutcomeDiffers(RuntimeError):
    """The current outcome of the prediction is not the one that the caller replaces."""


@dataclass(frozen=True)
class Verified:
    """One verification: `outcome` is malignant or benign; `verified_by` is a person, a laboratory or a method."""

    outcome: str
    verified_by: str
    verified_at: datetime
    note: str | None


def find_prediction(session: Session, prediction_id: str, *, for_update: bool = False) -> PredictionRow:
    """Raises `PredictionNotFound`."""
    found = session.get(PredictionRow, prediction_id, with_for_update=for_update)
    if found is None:
        raise PredictionNotFound(f"there is no prediction {prediction_id}")
    return found


def record(session: Session, prediction_id: str, verified: Verified, *, replaces: int | None, actor: str) -> bool:
    """Stores an outcome and returns whether it is new; storing the current one again changes nothing.

    `replaces` is the number of the outcome that it corrects, None where there is none yet. Raises `PredictionNotFound`
    or `OutcomeDiffers`.
    """
    find_prediction(session, prediction_id, for_update=True)
    earlier = current(session, prediction_id)
    if earlier is not None and _verified(earlier) == verified:
        return False
    number = None if earlier is None else earlier.number
    if number != replaces:
        raise OutcomeDiffers(_difference(prediction_id, earlier, replaces))
    if earlier is not None:
        earlier.current = False
    session.add(
        OutcomeRow(
            prediction_id=prediction_id,
            number=(number or 0) + 1,
            current=True,
            recorded_by=actor,
            recorded_at=now(session),
            **vars(verified),
        )
    )
    session.flush()
    return True


def current(session: Session, prediction_id: str) -> OutcomeRow | None:
    return session.scalar(select(OutcomeRow).where(OutcomeRow.prediction_id == prediction_id, OutcomeRow.current))


def history(session: Session, prediction_id: str) -> list[OutcomeRow]:
    """Every outcome of a prediction, the current one first."""
    chosen = select(OutcomeRow).where(OutcomeRow.prediction_id == prediction_id)
    return list(session.scalars(chosen.order_by(OutcomeRow.number.desc())))


def _verified(row: OutcomeRow) -> Verified:
    return Verified(row.outcome, row.verified_by, row.verified_at, row.note)


def _difference(prediction_id: str, earlier: OutcomeRow | None, replaces: int | None) -> str:
    if earlier is None:
        return f"{prediction_id} has no outcome yet, so none with the number {replaces} can be replaced"
    return f"outcome {earlier.number} of {prediction_id} is {earlier.outcome}, verified by {earlier.verified_by}"
