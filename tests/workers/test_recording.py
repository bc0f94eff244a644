"""The end of a final trial is recorded whole, once, or not at all."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from models_store import runs
from models_store.contract.outcomes import Exit
from models_store.runs import Claim, LeaseLost
from models_store.runs.recording import record
from models_store.store import registry
from models_store.tables import Experiment, Trial
from tests.workers.conftest import Stage
from workers.worker import work


def at_the_final_trial(stage: Stage, **changes: Any) -> tuple[str, Claim, Exit]:
    """An experiment whose final trial has ended, and how; nothing of that is recorded yet."""
    experiment_id = stage.submit(architectures=["CNN_v1"], strategies=[], **changes)
    work.run_next_trial(stage.worker, "cpu")
    with stage.database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "here:1", timedelta(minutes=1))
    assert claim is not None
    with stage.worker.slot() as slot:
        return experiment_id, claim, work._attempt(stage.worker, claim, slot)


def put(stage: Stage, claim: Claim, ended: Exit) -> None:
    with stage.database.write() as session:
        record(session, claim, ended, max_attempts=3)


def test_result_that_arrives_twice_is_written_once(stage: Stage) -> None:
    _, claim, ended = at_the_final_trial(stage)
    put(stage, claim, ended)
    with pytest.raises(LeaseLost):
        put(stage, claim, ended)
    assert (len(stage.models()), len(stage.openings())) == (1, 1)


def test_second_opening_of_a_test_set_fails_its_trial_and_names_the_first(stage: Stage) -> None:
    # Given an experiment whose final trial is, against every rule, made to run again
    experiment_id, claim, ended = at_the_final_trial(stage)
    put(stage, claim, ended)
    with stage.database.write() as session:
        session.execute(update(Trial).where(Trial.id == claim.trial_id).values(status="running"))
        session.execute(update(Experiment).values(status="running"))

    # When its second result arrives
    put(stage, claim, ended)

    # Then it is refused, and what was recorded first stays
    final = stage.trials(experiment_id)["final"]
    assert (final.status, final.error and final.error["kind"]) == ("failed", "TestSetAlreadyOpened")
    assert final.error is not None
    assert "read the recorded result, or submit a new experiment" in final.error["message"]
    assert (len(stage.openings()), len(stage.models())) == (1, 1)


@pytest.mark.parametrize("reason", ["finished", "crashed", "stopped", "overdue"])
def test_trial_whose_experiment_is_cancelled_as_it_ends_is_cancelled_and_leaves_no_model(
    stage: Stage, reason: Any
) -> None:
    # Given a final trial that has ended, and a cancellation that comes before its record
    experiment_id, claim, ended = at_the_final_trial(stage, promote="always")
    with stage.database.write() as session:
        runs.cancel(session, experiment_id)

    # When the end is recorded
    put(stage, claim, Exit(reason=reason, outcome=ended.outcome))

    # Then the experiment is cancelled, and nothing of its model is on record
    assert stage.experiment(experiment_id).status == "cancelled"
    assert stage.statuses(experiment_id)["final"] == "cancelled"
    assert (stage.models(), stage.openings()) == ([], [])
    with stage.database.read() as session:
        assert registry.champion(session) is None


def test_seal_survives_a_crash_between_opening_and_recording(stage: Stage) -> None:
    # Given a final trial that opened the test set, and neither its worker nor its folder lived to tell
    experiment_id, claim, _ = at_the_final_trial(stage)
    elsewhere = stage.with_settings(work_root=stage.worker.settings.work_root / "elsewhere")
    with stage.database.write() as session:
        runs.fail_trial(session, claim, {"kind": "WorkerLost", "message": ""}, retry=True, max_attempts=3)
    assert (stage.openings(), stage.models()) == ([], [])

    # When it is done again
    elsewhere.run_all()

    # Then one opening and one model are on record, both for the same frozen bundle
    (opening,), (model,) = stage.openings(), stage.models()
    assert opening.bundle_sha256 == model.bundle_sha256
    assert stage.experiment(experiment_id).status == "succeeded"


def test_failure_while_promoting_leaves_neither_model_nor_opening(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the registry is on fire")

    experiment_id, claim, ended = at_the_final_trial(stage, promote="always")
    monkeypatch.setattr(registry, "promote", refuse)
    with pytest.raises(RuntimeError):
        put(stage, claim, ended)
    assert (stage.models(), stage.openings(), stage.experiment(experiment_id).status) == ([], [], "running")


@pytest.mark.parametrize(
    ("promote", "second", "champion"),
    [
        ("never", {"recall": 0.99}, 0),
        ("if_better", {"recall": 0.99, "specificity": 0.69}, 0),
        ("if_better", {"recall": 0.89, "specificity": 0.99}, 0),
        ("if_better", {"recall": 0.90, "specificity": 0.71}, 1),
        ("if_better", {"recall": 0.91, "specificity": 0.70}, 0),
        ("always", {"recall": 0.10}, 1),
    ],
)
def test_finished_model_is_promoted_as_the_spec_asks(
    stage: Stage, promote: str, second: dict[str, float], champion: int
) -> None:
    for asked, test in (("always", {"recall": 0.91, "specificity": 0.70}), (promote, second)):
        stage.direct(final={"test": test})
        stage.submit(architectures=["CNN_v1"], strategies=[], promote=asked)
        stage.run_all()
    versions = [model.version for model in stage.models()]
    with stage.database.read() as session:
        found = registry.champion(session)
        assert found is not None
        assert found.version == versions[champion]


def test_champion_of_another_data_set_is_not_compared_and_stays(stage: Stage) -> None:
    for sha256, recall, asked in (("a" * 64, 0.5, "if_better"), ("b" * 64, 0.9, "if_better")):
        stage.direct(final={"dataset_sha256": sha256, "test": {"recall": recall}})
        stage.submit(architectures=["CNN_v1"], strategies=[], promote=asked)
        stage.run_all()
    with stage.database.read() as session:
        found = registry.champion(session)
        assert found is not None
        assert found.dataset_sha256 == "a" * 64


def test_promotion_says_who_and_why(stage: Stage) -> None:
    experiment_id = stage.submit(architectures=["CNN_v1"], strategies=[], promote="always")
    stage.run_all()
    with stage.database.read() as session:
        (promotion,) = registry.history(session)
    assert promotion.actor == f"experiment {experiment_id}"
    assert promotion.reason == "asked for by the experiment: test recall 0.910, specificity 0.700"
