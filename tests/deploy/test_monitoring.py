"""Prometheus itself on the alert rules, and on a running deployment with the configuration that it ships with.

The program comes from Debian, so that no second registry is asked; what is mounted, and where, is docker-compose.yml's.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.installing import IMAGES, REPOSITORY
from tests.deploy.stack import Stack

pytestmark = pytest.mark.timeout(900)

DASHBOARD = REPOSITORY / "docs" / "deployment" / "grafana" / "dashboards" / "dermatriage.json"
DOCKERFILE = """
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/*
RUN install -d -o nobody /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
"""
ASK = """
import sys, urllib.parse, urllib.request as r
query = urllib.parse.urlencode({"query": sys.argv[2]}) if len(sys.argv) > 2 else ""
print(r.urlopen(f"http://prometheus:9090/api/v1/{sys.argv[1]}?{query}", timeout=10).read().decode())
"""


@pytest.fixture(scope="module")
def image(first: Stack) -> str:
    tag = f"{IMAGES}/prometheus:{first.project}"
    built = subprocess.run(
        ["docker", "build", "--quiet", "--tag", tag, "-"], input=DOCKERFILE, capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stderr
    return tag


@pytest.fixture(scope="module")
def prometheus(first: Stack, image: str) -> Iterator[Stack]:  # noqa: ARG001 - .env names the image
    """The deployment with Prometheus in it, as docs/operations.md starts it; Grafana stays out."""
    (first.clone / "secrets" / "metrics_key").write_text(
        first.dermatriage("keys", "create", "prometheus", "--scope", "read")
    )
    first.compose("--profile", "monitoring", "up", "--detach", "--wait", "prometheus")
    yield first
    first.compose("--profile", "monitoring", "rm", "--stop", "--force", "prometheus")


def test_each_alert_is_raised_by_its_cause_and_by_nothing_else(image: str) -> None:
    rules = "/repository/tests/deploy/alerts.test.yml"
    inside = ("--volume", f"{REPOSITORY}:/repository:ro", "--network", "none", "--entrypoint", "promtool", image)
    promtool = ["docker", "run", "--rm", *inside, "test", "rules", rules]
    checked = subprocess.run(promtool, capture_output=True, text=True, timeout=120)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_reads_the_service_with_the_key_of_the_secret(prometheus: Stack, lesion: bytes) -> None:
    prometheus.predict(lesion)
    scraped = 'up{job="dermatriage"} == 1'
    assert len(prometheus.wait_until(lambda: asked(prometheus, "query", scraped)["result"], "a scrape", 90)) == 1
    version = prometheus.get("/v1/models")["items"][0]["version"]
    [champion] = prometheus.wait_until(
        lambda: asked(prometheus, "query", "dermatriage_champion_info")["result"], "the champion", 60
    )
    assert champion["metric"]["version"] == version


def test_every_rule_is_loaded_healthy_and_silent(prometheus: Stack) -> None:
    rules = prometheus.wait_until(lambda: evaluated(prometheus), "an evaluation of every rule", 60)
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"] for rule in rules if rule["state"] == "firing"} == set()
    assert len(rules) == 10


def test_prometheus_answers_every_query_of_the_dashboard(prometheus: Stack) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) >= len(panels)
    answers = {query: asked(prometheus, "query", query)["result"] for query in queries}
    assert [query for query, answer in answers.items() if "champion_info" in query and answer]


def evaluated(stack: Stack) -> list[dict[str, Any]] | None:
    rules = [rule for group in asked(stack, "rules")["groups"] for rule in group["rules"]]
    return rules if all(rule["health"] != "unknown" for rule in rules) else None


def asked(stack: Stack, *words: str) -> Any:
    """Prometheus' answer; it is reached from inside alone. A query that it refuses fails."""
    answer = json.loads(stack.compose("exec", "-T", "web", "python", "-c", ASK, *words))
    assert answer["status"] == "success", answer
    return answer["data"]
