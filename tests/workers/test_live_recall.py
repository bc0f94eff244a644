"""The sweeper counts outcomes, logs a promise in doubt, and sends its webhook once."""

import json
import logging

import pytest

from dermatriage_client import examples
from dermatriage_client.schemas import PromiseInDoubt
from tests.verified_predictions import IN_DOUBT, KEPT, promise, store_verified
from tests.workers.conftest import Receiver, ScriptedWorker
from workers import webhooks
from workers.sweeper import Sweeper


def trained(scripted: ScriptedWorker) -> str:
    scripted.set_script(every={"end": "succeeded"})
    scripted.submit(architectures=["CNN_v1"], strategies=[])
    scripted.run_all()
    (model,) = scripted.models()
    promise(scripted.database, model.version)
    return model.version


def test_promise_in_doubt_is_logged_and_sent_once(
    sender: ScriptedWorker, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    version = trained(sender)
    webhooks.send_due(sender.worker)  # the end of the experiment
    store_verified(sender.database, version, IN_DOUBT)
    sweeper = Sweeper(sender.worker)
    sweeper.sweep()
    sweeper.sweep()
    assert webhooks.send_due(sender.worker) == 1

    _, (_, body) = receiver.received
    payload = PromiseInDoubt.model_validate_json(body)
    assert (payload.model_version, payload.recall, payload.target_recall) == (version, 0.5, 0.9)
    assert payload.model_url.endswith(f"/models/{version}")
    assert payload.evidence >= 20
    assert set(json.loads(body)) == set(examples.PROMISE_IN_DOUBT) == set(PromiseInDoubt.model_fields)
    (logged,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert version in logged.getMessage()
    assert "is in doubt" in logged.getMessage()


def test_webhook_that_fails_is_sent_again(sender: ScriptedWorker, receiver: Receiver) -> None:
    version = trained(sender)
    webhooks.send_due(sender.worker)
    store_verified(sender.database, version, IN_DOUBT)
    Sweeper(sender.worker).sweep()
    receiver.answer = 500
    assert webhooks.send_due(sender.worker) == 1
    assert webhooks.send_due(sender.worker) == 0  # not due yet


def test_promise_that_is_kept_sends_nothing(sender: ScriptedWorker, caplog: pytest.LogCaptureFixture) -> None:
    version = trained(sender)
    webhooks.send_due(sender.worker)
    store_verified(sender.database, version, KEPT)
    Sweeper(sender.worker).sweep()
    assert webhooks.send_due(sender.worker) == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
