"""The metrics for Prometheus. With several web processes, each writes its own files, and `/metrics` adds them up.

``PROMETHEUS_MULTIPROC_DIR`` has to be set before this module is imported; `service.web` does so.
"""

import os
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

REGISTRY = CollectorRegistry()
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)

REQUEST_SECONDS = Histogram(
    "dermatriage_http_request_seconds",
    "Time from the first byte of a request to the last of its answer.",
    ["method", "route", "status"],
    buckets=SECONDS,
    registry=REGISTRY,
)
BATCH_SIZE = Histogram(
    "dermatriage_batch_size", "Images that shared one run of the network.", buckets=IMAGES, registry=REGISTRY
)
QUEUE_DEPTH = Gauge(
    "dermatriage_predict_queue_depth",
    "Images that wait for the network.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
PREDICTIONS = Counter("dermatriage_predictions", "Images classified.", ["label", "version"], registry=REGISTRY)
WARNINGS = Counter(
    "dermatriage_prediction_warnings", "Warnings given with predictions, by code.", ["code"], registry=REGISTRY
)
DROPPED = Counter(
    "dermatriage_predictions_dropped",
    "Predictions answered but not recorded: the database fell behind.",
    registry=REGISTRY,
)
RECORD_FAILURES = Counter(
    "dermatriage_prediction_record_failures",
    "Attempts to record predictions that failed: the database or the store is away.",
    registry=REGISTRY,
)


# prometheus_client looks a series up by its labels at each use, which takes longer than counting.
request_seconds = lru_cache(REQUEST_SECONDS.labels)
predictions = lru_cache(PREDICTIONS.labels)
warnings = lru_cache(WARNINGS.labels)


def collected() -> CollectorRegistry:
    """The registry to read: that of this process, or one that adds up the files of all."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
