"""The report over HTTP."""

from typing import Any

from models_store.database import Database
from tests.finished_experiment import a_spec, store_experiment


def test_a_report_is_html_that_may_load_nothing(client: Any, database: Database) -> None:
    with database.write() as session:
        experiment_id = store_experiment(session, a_spec(name="waiting"), "queued", 0).id
    answer = client.get(f"/v1/experiments/{experiment_id}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "<h1>waiting</h1>" in answer.text


def test_the_report_of_an_unknown_experiment_is_a_problem(client: Any) -> None:
    answer = client.get("/v1/experiments/exp_nobody/report")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
