"""`/metrics`: the metrics for Prometheus, including the state of database and broker."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from numpy.typing import ArrayLike
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.broker import redis_at, sweep_failures
from models_store.database import Database, now
from models_store.tables import PredictionRow, Trial
from service.dependencies import Services
from service.predictions.engine.predictor import Serving
from service.system.disk import DiskUse
from service.system.live_recall import live_recalls
from service.web import metrics
from service.web.api_docs import problems

DRIFT_WINDOW = timedelta(days=1)
# Below this many scores the distance is mostly chance: 1.36 / sqrt(50) = 0.19 at 5 %.
MIN_SCORES = 50
MAX_SCORES = 10_000


router = APIRouter(tags=["health"])


EXAMPLE = 'dermatriage_predictions_total{label="benign",version="mdl_8c1f6a0e"} 41.0\n'


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": EXAMPLE}}}, **problems("database-unreachable")},
)
def read_metrics(services: Services) -> Response:
    """Latencies, batches, predictions, trials, workers and the champion, in Prometheus' text format."""
    state = CollectorRegistry()
    state.register(DatabaseMetrics(services.database, services.predictor.serving, services.settings.lease_seconds))
    state.register(SweepFailures(services.settings.broker_url))
    state.register(Disk(services.disk))
    text = generate_latest(metrics.collected()) + generate_latest(state)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class DatabaseMetrics(Collector):
    """Metrics that are read from the database. `serving` is the model that answers in this process."""

    def __init__(self, database: Database, serving: Serving | None, lease_seconds: float) -> None:
        self._database, self._serving, self._lease = database, serving, timedelta(seconds=lease_seconds)

    def collect(self) -> Iterable[Metric]:
        with self._database.read() as session:
            moment = now(session)
            yield _trials(session)
            yield _oldest(session, moment)
            yield self._heartbeats(session, moment)
            if self._serving is not None:
                yield _champion(self._serving)
                yield from _drift(session, self._serving, moment)
            yield from _live_recall(session)

    def _heartbeats(self, session: Session, moment: datetime) -> Metric:
        name = "dermatriage_worker_heartbeat_age_seconds"
        metric = GaugeMetricFamily(name, "Time since a worker last renewed the lease of a trial.", labels=["worker"])
        renewed = (
            select(Trial.worker, func.max(Trial.lease_expires_at))
            .where(Trial.status.in_(("running", "cancelling")), Trial.worker.is_not(None))
            .group_by(Trial.worker)
        )
        for worker, expires in session.execute(renewed):
            if expires is not None:
                metric.add_metric([str(worker)], (moment - (_utc(expires, moment) - self._lease)).total_seconds())
        return metric


class SweepFailures(Collector):
    """How often the sweeper left an experiment aside; absent while the broker does not answer."""

    def __init__(self, broker_url: str) -> None:
        self._broker_url = broker_url

    def collect(self) -> Iterable[Metric]:
        try:
            with redis_at(self._broker_url) as broker:
                counted = sweep_failures(broker)
        except (RedisError, OSError):
            return
        yield CounterMetricFamily(
            "dermatriage_sweep_failures", "Experiments that a sweep had to leave aside; its log has the cause.", counted
        )


class Disk(Collector):
    """Bytes by kind; absent until they are measured."""

    def __init__(self, disk: DiskUse) -> None:
        self._disk = disk

    def collect(self) -> Iterable[Metric]:
        metric = GaugeMetricFamily("dermatriage_disk_bytes", "Bytes in the store and the database.", labels=["kind"])
        for kind, size in (self._disk.latest() or {}).items():
            metric.add_metric([kind], size)
        yield metric


def distance(scores: ArrayLike, expected: ArrayLike) -> float:
    """Kolmogorov and Smirnov's: the largest gap between the two distributions, 0 (equal) to 1."""
    first, second = np.sort(np.asarray(scores, float)), np.sort(np.asarray(expected, float))
    places = np.concatenate([first, second])
    below = [np.searchsorted(sample, places, side="right") / len(sample) for sample in (first, second)]
    return float(np.max(np.abs(below[0] - below[1])))


def _trials(session: Session) -> Metric:
    metric = GaugeMetricFamily("dermatriage_trials", "Trials by state.", labels=["status"])
    for status, number in session.execute(select(Trial.status, func.count()).group_by(Trial.status)):
        metric.add_metric([status], number)
    return metric


def _oldest(session: Session, moment: datetime) -> Metric:
    name = "dermatriage_queue_oldest_seconds"
    metric = GaugeMetricFamily(name, "Age of the longest-waiting trial.", labels=["queue"])
    oldest = select(Trial.queue, func.min(Trial.created_at)).where(Trial.status == "queued").group_by(Trial.queue)
    for queue, created in session.execute(oldest):
        metric.add_metric([queue], (moment - _utc(created, moment)).total_seconds())
    return metric


def _champion(serving: Serving) -> Metric:
    metric = GaugeMetricFamily("dermatriage_champion_info", "The model that answers.", labels=["version"])
    metric.add_metric([serving.version], 1)
    return metric


def _drift(session: Session, serving: Serving, moment: datetime) -> Iterable[Metric]:
    probabilities = session.scalars(
        select(PredictionRow.probability)
        .where(PredictionRow.model_version == serving.version, PredictionRow.created_at > moment - DRIFT_WINDOW)
        .order_by(PredictionRow.created_at.desc())
        .limit(MAX_SCORES)
    ).all()
    if len(probabilities) < MIN_SCORES or not serving.validation_scores:
        return
    yield GaugeMetricFamily(
        "dermatriage_score_drift",
        "Kolmogorov-Smirnov distance of the last day's probabilities from those on validation images.",
        value=distance(probabilities, serving.validation_scores),
    )


def _live_recall(session: Session) -> Iterable[Metric]:
    recall = GaugeMetricFamily(
        "dermatriage_live_recall",
        "Recall on verified lesions, corrected for the shares verified; absent while withheld.",
        labels=["version", "bound"],
    )
    share = GaugeMetricFamily(
        "dermatriage_verified_share", "Share of the images that have an outcome.", labels=["version", "label"]
    )
    evidence = GaugeMetricFamily(
        "dermatriage_promise_evidence", "Evidence against the promised recall.", labels=["version"]
    )
    in_doubt = GaugeMetricFamily(
        "dermatriage_promise_in_doubt", "1 once the promised recall is in doubt.", labels=["version"]
    )
    for live in live_recalls(session):
        if live.estimate is not None:
            bounds = {"estimate": live.estimate.recall, "low": live.estimate.low, "high": live.estimate.high}
            for bound, value in bounds.items():
                recall.add_metric([live.version, bound], value)
        for label, calls in (("malignant", live.malignant), ("benign", live.benign)):
            if calls.share is not None:
                share.add_metric([live.version, label], calls.share)
        if live.evidence is not None:
            evidence.add_metric([live.version], live.evidence)
        in_doubt.add_metric([live.version], live.in_doubt_since is not None)
    return recall, share, evidence, in_doubt


def _utc(stored: datetime, moment: datetime) -> datetime:
    return stored if stored.tzinfo else stored.replace(tzinfo=moment.tzinfo)
