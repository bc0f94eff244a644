"""docs/webhooks.md as a receiver follows it, and the OpenAPI document, against webhooks that were really sent."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from dermatriage_client import examples
from dermatriage_client.schemas import ExperimentEnded, PromiseInDoubt
from models_store import runs
from models_store.runs import deliveries
from service.app import create_app
from tests.workers.conftest import WEBHOOK_SECRET, Receiver, ScriptedWorker
from workers import webhooks

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def app(scripted: ScriptedWorker) -> FastAPI:
    return create_app(scripted.worker.settings, database=scripted.database, storage=scripted.worker.storage)


def succeeded(scripted: ScriptedWorker) -> str:
    scripted.set_script(every={"end": "succeeded"})
    experiment_id = scripted.submit(name="screening", architectures=["CNN_v1"], strategies=[], promote="always")
    scripted.run_all()
    return experiment_id


def test_code_of_the_page_verifies_what_was_sent_and_refuses_what_was_altered(
    sender: ScriptedWorker, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment_id = succeeded(sender)
    webhooks.send_due(sender.worker)
    ((headers, body),) = receiver.received
    names: dict[str, Any] = {}
    exec(compile(block("python"), "docs/webhooks.md", "exec"), names)

    assert names["receive"](headers, body, WEBHOOK_SECRET) == 204
    assert f"/experiments/{experiment_id}" in capsys.readouterr().out
    assert names["receive"](headers, body.replace(b"succeeded", b"cancelled"), WEBHOOK_SECRET) == 401


def test_webhook_has_the_figures_of_the_result_and_a_link(sender: ScriptedWorker, receiver: Receiver) -> None:
    experiment_id = succeeded(sender)
    settings = {"webhook_url": receiver.url, "webhook_secret": WEBHOOK_SECRET, "public_url": "https://triage.example/"}
    webhooks.send_due(sender.with_settings(**settings).worker)
    ((_, body),) = receiver.received
    payload = ExperimentEnded.model_validate_json(body)
    result = sender.experiment(experiment_id).result
    assert result is not None
    assert payload.experiment_url == f"https://triage.example/experiments/{experiment_id}"
    assert (payload.winner, payload.model_version, payload.threshold) == (
        result["winner"],
        result["model_version"],
        result["threshold"],
    )
    assert payload.guarantee is not None
    assert payload.guarantee.sentence == result["guarantee"]["sentence"]
    assert payload.promotion is not None
    assert payload.promotion.sentence.startswith("Promoted: asked for by the experiment: test recall")
    assert payload.recall is not None
    assert payload.specificity is not None


def test_webhook_without_a_result_has_no_figures(sender: ScriptedWorker, receiver: Receiver) -> None:
    experiment_id = sender.submit()
    with sender.database.write() as session:
        runs.cancel(session, experiment_id)
    webhooks.send_due(sender.worker)
    ((_, body),) = receiver.received
    payload = ExperimentEnded.model_validate_json(body)
    assert (payload.status, payload.recall, payload.guarantee) == ("cancelled", None, None)
    assert set(json.loads(body)) == set(ExperimentEnded.model_fields)


def test_body_on_the_page_is_the_example_of_the_schema() -> None:
    assert json.loads(block("json")) == examples.WEBHOOK
    ExperimentEnded.model_validate(examples.WEBHOOK)


def test_pauses_on_the_page_are_those_between_attempts() -> None:
    pauses = [deliveries.FIRST_RETRY_SECONDS * 2**attempt for attempt in range(deliveries.MAX_ATTEMPTS - 1)]
    assert max(pauses) < deliveries.SLOWEST_RETRY_SECONDS
    *most, last = (f"{pause:g}" for pause in pauses)
    assert f"up to {deliveries.MAX_ATTEMPTS} times in all, after {', '.join(most)} and {last} seconds" in PAGE
    assert f"within {webhooks.ANSWER_SECONDS:g} seconds" in PAGE


@pytest.mark.parametrize(
    ("name", "schema"), [("experiment.ended", ExperimentEnded), ("promise.in_doubt", PromiseInDoubt)]
)
def test_openapi_describes_the_webhook(app: FastAPI, name: str, schema: type[BaseModel]) -> None:
    operation = app.openapi()["webhooks"][name]["post"]
    headers = {parameter["name"] for parameter in operation["parameters"]}
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    signed = webhooks.signed_headers(WEBHOOK_SECRET, "dlv_1", datetime.now(UTC), b"{}")
    assert headers == {name for name in signed if name.startswith("webhook-")}
    assert body == {"$ref": f"#/components/schemas/{schema.__name__}"}
    assert set(operation["responses"]) == {"204", "default"}
    assert f"within {webhooks.ANSWER_SECONDS:g} seconds" in operation["responses"]["default"]["description"]
