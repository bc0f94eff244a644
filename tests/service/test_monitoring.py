"""The metrics that Prometheus and Grafana read exist in `/metrics`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.monitoring import counting
from service.system import prometheus
from tests.service.conftest import MakeModel
from tests.service.predictions.test_record import image
from tests.verified_predictions import KEPT, promise, store_verified

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
NAME = re.compile(r"\bdermatriage_[a-z_]+")
SeriesOf = dict[str, set[str]]
OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


@pytest.fixture
def series_of(
    app: FastAPI, client: TestClient, database: Database, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> SeriesOf:
    """The names of the series of each metric, once every event that they measure has happened."""
    monkeypatch.setattr(prometheus, "MIN_SCORES", 1)
    version = make_model(promote=True)
    promise(database, version)
    store_verified(database, version, KEPT)
    with database.write() as session:
        counting.count(session, version)
    assert client.post("/predict", files={"file": ("a.png", image(1))}).status_code == 200
    app.state.service.recorder.close()
    service: Any = app.state.service
    service.predictor.serving = type(service.predictor.serving)(
        **{**vars(service.predictor.serving), "validation_scores": (0.5,)}
    )
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        family.name: {family.name + end for end in OF_A_HISTOGRAM}
        if family.type == "histogram"
        else {family.name + "_total" if family.type == "counter" else family.name}
        for family in families
        if family.name.startswith("dermatriage_") and not family.name.endswith("_created")
    }


def test_dashboard_and_alerts_query_series_that_exist(series_of: SeriesOf) -> None:
    series = set().union(*series_of.values())
    dashboard = json.loads((DOCS / "deployment/grafana/dashboards/dermatriage.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    queries.append((DOCS / "deployment/prometheus/alerts.yml").read_text())
    named = {name for text in queries for name in NAME.findall(text)}
    assert len(named) > 5
    assert named <= series


def test_page_on_operations_lists_every_metric_and_every_alert(series_of: SeriesOf) -> None:
    page = (DOCS / "operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", (DOCS / "deployment/prometheus/alerts.yml").read_text())
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", page, re.MULTILINE)) == set(alerts)
    listed = set(re.findall(r"^\| `(dermatriage_[a-z_]+)", page, re.MULTILINE))
    assert {name.removesuffix("_total") for name in listed} == set(series_of)
