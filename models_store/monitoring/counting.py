"""Counts the outcomes of each model, stores the recall that they show, and raises the alert about its promise."""

from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.monitoring.live_recall import Calls, Period, live_recall
from models_store.monitoring.words import sentences
from models_store.tables import LiveRecallRow, Model, OutcomeRow, PredictionRow, RecallAlert

# Predictions without an outcome change the share verified; they are counted again this often.
COUNTED_FOR = timedelta(hours=1)
# How many outcomes each model has, corrected ones included; a model without outcomes is left out.
RECORDED = (
    select(PredictionRow.model_version, func.count().label("outcomes"))
    .join(OutcomeRow, OutcomeRow.prediction_id == PredictionRow.id)
    .group_by(PredictionRow.model_version)
)


def models_to_count(session: Session) -> list[str]:
    """Models whose number of outcomes has changed since they were last counted, or that were counted an hour ago."""
    recorded = RECORDED.subquery()
    has_changed = func.coalesce(recorded.c.outcomes, 0) != func.coalesce(LiveRecallRow.outcomes, 0)
    is_old = LiveRecallRow.counted_at <= now(session) - COUNTED_FOR
    chosen = (
        select(Model.version)
        .outerjoin(recorded, recorded.c.model_version == Model.version)
        .outerjoin(LiveRecallRow, LiveRecallRow.model_version == Model.version)
    )
    return list(session.scalars(chosen.where(or_(has_changed, is_old))))


def count(session: Session, version: str) -> RecallAlert | None:
    """Stores the figures of a model. Returns the alert where this count raises it; each model has at most one."""
    model = session.get_one(Model, version, with_for_update=True)  # one count at a time
    moment, outcomes = now(session), _recorded(session, version)
    live = live_recall(periods(session, version), *_promised(model))
    figures = asdict(live) | {"sentences": sentences(live)}
    session.merge(LiveRecallRow(model_version=version, outcomes=outcomes, figures=figures, counted_at=moment))
    if not live.is_in_doubt or _alert(session, version) is not None:
        return None
    alert = RecallAlert(model_version=version, figures=figures, due_at=moment, created_at=moment)
    session.add(alert)
    session.flush()
    return alert


def periods(session: Session, version: str) -> list[Period]:
    """The predictions of a model by month (UTC), oldest first. An image counts once a month, however often sent."""
    month = _utc_month(session)
    image = PredictionRow.image_sha256
    chosen = (
        select(
            month,
            PredictionRow.label,
            func.count(image.distinct()),
            func.count(case((OutcomeRow.outcome.is_not(None), image)).distinct()),
            func.count(case((OutcomeRow.outcome == "malignant", image)).distinct()),
        )
        .outerjoin(OutcomeRow, and_(OutcomeRow.prediction_id == PredictionRow.id, OutcomeRow.current))
        .where(PredictionRow.model_version == version)
        .group_by(month, PredictionRow.label)
    )
    by_month: dict[str, dict[str, Calls]] = defaultdict(dict)
    for name, label, *counts in session.execute(chosen):
        by_month[name][label] = Calls(*counts)
    return [Period(**by_month[name]) for name in sorted(by_month)]


def _promised(model: Model) -> tuple[float | None, float | None]:
    """Target and confidence; None without a promise."""
    guarantee = model.calibration["guarantee"]
    return (guarantee["target_recall"], guarantee["confidence"]) if guarantee["holds"] else (None, None)


def _recorded(session: Session, version: str) -> int:
    row = session.execute(RECORDED.where(PredictionRow.model_version == version)).one_or_none()
    return 0 if row is None else row.outcomes


def _alert(session: Session, version: str) -> RecallAlert | None:
    return session.scalar(select(RecallAlert).where(RecallAlert.model_version == version))


def _utc_month(session: Session) -> ColumnElement[str]:
    if session.get_bind().dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", PredictionRow.created_at), "YYYY-MM")
    return func.substr(PredictionRow.created_at, 1, 7)  # stored as text in UTC
