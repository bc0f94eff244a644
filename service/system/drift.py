"""The predictions of the last 14 days, and whether the champion's scores drift away from those on validation images."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import sqrt

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models_store.tables import Model, PredictionRow
from service.predictions.engine.predictor import Serving
from service.system.prometheus import MIN_SCORES, distance
from service.system.schemas import Day

DAYS = 14
MAX_SCORES_A_DAY = 2_000
# Smirnov's limit: without drift, sqrt(n m / (n + m)) times the distance exceeds this in one case of twenty.
ONE_IN_TWENTY = 1.358


def last_days(session: Session, serving: Serving | None, moment: datetime) -> list[Day]:
    """The last 14 days (UTC) up to that of `moment`, oldest first."""
    days = [moment.astimezone(UTC).date() - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    counted = _counted(session, days[0])
    return [_day(session, day, counted, serving) for day in days]


def chance_distance(scores: int, expected: int) -> float:
    """The distance that samples of these sizes from one distribution exceed in one case of twenty (Smirnov, 1948)."""
    return ONE_IN_TWENTY * sqrt((scores + expected) / (scores * expected))


def _day(session: Session, day: date, counted: Counter[tuple[date, str]], serving: Serving | None) -> Day:
    malignant, benign = counted[day, "malignant"], counted[day, "benign"]
    scores: Sequence[float] = ()
    if serving is not None and serving.validation_scores and malignant + benign >= MIN_SCORES:
        scores = _scores(session, serving.version, day)
    if serving is None or len(scores) < MIN_SCORES:
        return Day(day=day, malignant=malignant, benign=benign, drift=None, chance=None)
    expected = serving.validation_scores
    drift, chance = distance(scores, expected), chance_distance(len(scores), len(expected))
    return Day(day=day, malignant=malignant, benign=benign, drift=drift, chance=chance)


def _counted(session: Session, since: date) -> Counter[tuple[date, str]]:
    day = _utc_day(session)
    # Every prediction has a model; the condition on the version makes the database use the index on version and moment.
    chosen = (
        select(day, PredictionRow.label, func.count())
        .where(PredictionRow.model_version.in_(select(Model.version)), PredictionRow.created_at >= _midnight(since))
        .group_by(day, PredictionRow.label)
    )
    return Counter({(_as_date(found), label): number for found, label, number in session.execute(chosen)})


def _scores(session: Session, version: str, day: date) -> Sequence[float]:
    within = (PredictionRow.created_at >= _midnight(day), PredictionRow.created_at < _midnight(day + timedelta(days=1)))
    chosen = select(PredictionRow.probability).where(PredictionRow.model_version == version, *within)
    return session.scalars(chosen.order_by(PredictionRow.created_at.desc()).limit(MAX_SCORES_A_DAY)).all()


def _utc_day(session: Session) -> ColumnElement[object]:
    if session.get_bind().dialect.name == "postgresql":
        return func.date(func.timezone("UTC", PredictionRow.created_at))
    return func.date(PredictionRow.created_at)  # stored as text in UTC


def _as_date(found: object) -> date:
    return found if isinstance(found, date) else date.fromisoformat(str(found))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
