"""Webhooks: enqueued with the end of an experiment, signed, and sent until they succeed or are given up."""

import hashlib
import hmac
import itertools
import json
import socket
from contextlib import suppress
from datetime import timedelta
from threading import Event as Flag
from threading import Thread

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from models_store import runs
from models_store.database import now
from models_store.runs import deliveries
from models_store.tables import Delivery, Experiment
from tests.workers.conftest import WEBHOOK_SECRET, Receiver, ScriptedWorker
from workers import webhooks
from workers.sweeper import Sweeper
from workers.webhooks import WebhookSecretMissing


def ended(scripted: ScriptedWorker) -> str:
    experiment_id = scripted.submit()
    with scripted.database.write() as session:
        runs.cancel(session, experiment_id)
    return experiment_id


def delivery(scripted: ScriptedWorker) -> Delivery:
    with scripted.database.read() as session:
        return session.scalars(select(Delivery)).one()


def make_due(scripted: ScriptedWorker) -> None:
    with scripted.database.write() as session:
        session.execute(update(Delivery).values(due_at=now(session)))


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_every_end_has_exactly_one_webhook(scripted: ScriptedWorker, status: str) -> None:
    if status == "cancelled":
        ended(scripted)
    else:
        scripted.set_script(every={"end": "collapsed" if status == "failed" else "succeeded"})
        scripted.submit(architectures=["CNN_v1"], strategies=[])
        scripted.run_all()
    assert delivery(scripted).status == status


def test_webhook_names_the_ended_experiment_and_is_signed(sender: ScriptedWorker, receiver: Receiver) -> None:
    experiment_id = ended(sender)
    assert webhooks.send_due(sender.worker) == 1
    ((headers, body),) = receiver.received
    sent = json.loads(body)
    assert (sent["experiment"], sent["status"], sent["delivery"]) == (
        experiment_id,
        "cancelled",
        delivery(sender).id,
    )
    timestamp, digest = (part.split("=", 1)[1] for part in headers["DermaTriage-Signature"].split(","))
    expected = hmac.new(WEBHOOK_SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, expected)


@pytest.mark.parametrize("secret", [WEBHOOK_SECRET, "whsec_c2VjcmV0IGtleSBvZiB0aGUgcmVjZWl2ZXI="])
def test_a_library_for_standard_webhooks_verifies_what_is_sent(
    scripted: ScriptedWorker, receiver: Receiver, secret: str
) -> None:
    ended(scripted)
    webhooks.send_due(scripted.with_settings(webhook_url=receiver.url, webhook_secret=secret).worker)
    ((headers, body),) = receiver.received
    verifier = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    assert verifier.verify(body, headers)["status"] == "cancelled"
    with pytest.raises(WebhookVerificationError):
        verifier.verify(body.replace(b"cancelled", b"succeeded"), headers)


def test_delivered_webhook_is_not_sent_again(sender: ScriptedWorker, receiver: Receiver) -> None:
    ended(sender)
    webhooks.send_due(sender.worker)
    make_due(sender)
    assert webhooks.send_due(sender.worker) == 0
    assert len(receiver.received) == 1


def test_refused_webhook_is_sent_again_later_and_each_time_later(sender: ScriptedWorker, receiver: Receiver) -> None:
    ended(sender)
    receiver.answer = 503
    waits = []
    for _ in range(3):
        assert webhooks.send_due(sender.worker) == 1
        assert webhooks.send_due(sender.worker) == 0
        with sender.database.read() as session:
            waits.append((delivery(sender).due_at - now(session)).total_seconds())
        make_due(sender)
    assert waits == pytest.approx([10, 20, 40], abs=3)
    error = delivery(sender).last_error
    assert error is not None
    assert "503" in error
    receiver.answer = 200
    webhooks.send_due(sender.worker)
    assert (delivery(sender).state, delivery(sender).attempts) == ("delivered", 4)


def test_webhook_that_never_succeeds_is_given_up(sender: ScriptedWorker, receiver: Receiver) -> None:
    ended(sender)
    receiver.answer = 500
    for _ in range(deliveries.MAX_ATTEMPTS + 2):
        webhooks.send_due(sender.worker)
        make_due(sender)
    assert len(receiver.received) == deliveries.MAX_ATTEMPTS
    assert delivery(sender).state == "given_up"


def test_delivery_that_one_sweeper_took_is_not_taken_by_another(sender: ScriptedWorker) -> None:
    ended(sender)
    assert webhooks._next(sender.worker) is not None
    assert webhooks._next(sender.worker) is None


@pytest.mark.parametrize("answer", [204, 503])
def test_webhook_about_an_end_that_is_retried_while_it_is_sent_is_dropped(
    sender: ScriptedWorker, receiver: Receiver, answer: int
) -> None:
    # Given an experiment that failed and whose webhook is on its way
    receiver.answer = answer
    sender.set_script(final={"end": "refused"})
    experiment_id = sender.submit()
    sender.run_all()
    message = webhooks._next(sender.worker)
    assert message is not None

    # When the experiment is retried before the receiver answers
    with sender.database.write() as session:
        runs.retry(session, experiment_id)
    webhooks._send(sender.worker, receiver.url, WEBHOOK_SECRET, message)

    # Then the answer is recorded nowhere
    assert len(receiver.received) == 1
    with sender.database.read() as session:
        assert session.scalars(select(Delivery)).all() == []


def test_webhook_waits_for_an_address(scripted: ScriptedWorker) -> None:
    ended(scripted)
    assert webhooks.send_due(scripted.worker) == 0
    assert delivery(scripted).state == "pending"


def test_no_backlog_is_sent_when_webhooks_are_turned_on(sender: ScriptedWorker, receiver: Receiver) -> None:
    # Given an experiment that ended while webhooks were off
    off = sender.with_settings(webhook_url=None)
    webhooks.record_address(off.worker)
    ended(off)
    # When they are turned on, also by a second sweeper
    for _ in range(2):
        webhooks.record_address(sender.worker)
    later = ended(sender)
    webhooks.record_address(sender.worker)
    # Then only what ended since is sent
    assert webhooks.send_due(sender.worker) == 1
    assert [json.loads(body)["experiment"] for _, body in receiver.received] == [later]
    with sender.database.read() as session:
        assert sorted(session.scalars(select(Delivery.state))) == ["delivered", "skipped"]


def test_a_changed_address_gets_nothing_that_was_meant_for_the_one_before(
    sender: ScriptedWorker, receiver: Receiver
) -> None:
    elsewhere = sender.with_settings(webhook_url="http://127.0.0.1:9/gone", webhook_secret=WEBHOOK_SECRET)
    webhooks.record_address(elsewhere.worker)
    ended(elsewhere)
    webhooks.send_due(elsewhere.worker)
    webhooks.record_address(sender.worker)
    make_due(sender)
    assert webhooks.send_due(sender.worker) == 0
    assert receiver.received == []


def test_an_upgrade_loses_no_webhook_where_webhooks_were_on(sender: ScriptedWorker, receiver: Receiver) -> None:
    receiver.answer = 503
    ended(sender)
    webhooks.send_due(sender.worker)  # as an earlier version did, which recorded no address
    webhooks.record_address(sender.worker)
    receiver.answer = 200
    make_due(sender)
    assert webhooks.send_due(sender.worker) == 1
    assert delivery(sender).state == "delivered"


def test_address_without_a_secret_is_refused(sender: ScriptedWorker) -> None:
    settings = sender.worker.settings.model_copy(update={"webhook_secret": None})
    with pytest.raises(WebhookSecretMissing, match="DERMATRIAGE_WEBHOOK_SECRET"):
        webhooks.require_secret(settings)


@pytest.mark.parametrize("manner", ["silent", "drip by drip", "body without end"])
def test_receiver_that_is_slow_is_given_up_at_an_overall_deadline(
    sender: ScriptedWorker, monkeypatch: pytest.MonkeyPatch, manner: str
) -> None:
    # Given a receiver that keeps the connection busy, in one of three ways
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.5)
    gone = Flag()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if manner == "body without end":
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000):
                if gone.wait(0.05):
                    return
                if manner == "drip by drip":
                    connection.sendall(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        Thread(target=lambda: answer(server.accept()[0]), daemon=True).start()
        ended(sender)

        # When the webhook is sent
        webhooks.send_due(sender.with_settings(webhook_url=url, webhook_secret=WEBHOOK_SECRET).worker)
        gone.set()

    # Then it waits for its next attempt; only an immediate status counts as delivered
    if manner == "body without end":
        assert delivery(sender).state == "delivered"
    else:
        assert (delivery(sender).state, delivery(sender).last_error) == ("pending", "no complete answer within 0.5 s")


def test_sweep_does_not_wait_for_a_webhook(sender: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a receiver that answers only when it is allowed to
    requested, allowed = Flag(), Flag()

    def wait(*_: object) -> None:
        requested.set()
        allowed.wait(20)

    monkeypatch.setattr(webhooks, "_send", wait)
    hasty = sender.with_settings(
        webhook_url=sender.worker.settings.webhook_url, webhook_secret=WEBHOOK_SECRET, sweep_seconds=0.01
    ).worker
    webhooks.record_address(hasty)
    ended(sender)
    sending = webhooks.send_in_background(hasty)
    assert requested.wait(20)

    # When a sweep runs meanwhile, then it does its work
    experiment_id = sender.submit(limits={"experiment_minutes": 1})
    with sender.database.write() as session:
        session.execute(update(Experiment).values(status="running", started_at=now(session) - timedelta(minutes=2)))
    Sweeper(sender.worker).sweep()
    assert sender.experiment(experiment_id).status == "failed"

    # And the thread ends with its process
    hasty.stopping.set()
    allowed.set()
    sending.join(20)
    assert not sending.is_alive()
