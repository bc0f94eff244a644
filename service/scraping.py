"""`/metrics`, for Prometheus."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from service import metrics
from service.deps import Services
from service.openapi import problems
from service.standing import Standing, SweepFailures

router = APIRouter(tags=["health"])
EXAMPLE = 'dermatriage_predictions_total{label="benign",version="mdl_8c1f6a0e"} 41.0\n'


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"example": EXAMPLE}}}, **problems(503)},
)
def read_metrics(services: Services) -> Response:
    """Latencies, batches, predictions, trials, workers and the champion, in Prometheus' text format."""
    standing = CollectorRegistry()
    standing.register(Standing(services.database, services.predictor.serving, services.settings.lease_seconds))
    standing.register(SweepFailures(services.settings.broker_url))
    text = generate_latest(metrics.collected()) + generate_latest(standing)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
