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
from tests.workers.conftest import ScriptedWorker
from workers.worker import work


def at_the_final_trial(scripted: ScriptedWorker, **changes: Any) -> tuple[str, Claim, Exit]:
    """An experiment whose final trial has ended, and its unrecorded outcome."""
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[], **changes)
    work.run_next_trial(scripted.worker, "cpu")
    with scripted.database.write() as session:
        claim = runs.claim_next(session, ["cpu"], "here:1", timedelta(minutes=1))
    assert claim is not None
    with scripted.worker.slot() as slot:
        return experiment_id, claim, work._attempt(scripted.worker, claim, slot)


def put(scripted: ScriptedWorker, claim: Claim, ended: Exit) -> None:
    with scripted.database.write() as session:
        record(session, claim, ended, max_attempts=3)


def test_repeated_result_is_written_once(scripted: ScriptedWorker) -> None:
    _, claim, ended = at_the_final_trial(scripted)
    put(scripted, claim, ended)
    with pytest.raises(LeaseLost):
        put(scripted, claim, ended)
    assert (len(scripted.models()), len(scripted.openings())) == (1, 1)


def test_second_opening_of_a_test_set_fails_its_trial_and_names_the_first(scripted: ScriptedWorker) -> None:
    # Given an experiment whose final trial is, against every rule, made to run again
    experiment_id, claim, ended = at_the_final_trial(scripted)
    put(scripted, claim, ended)
    with scripted.database.write() as session:
        session.execute(update(Trial).where(Trial.id == claim.trial_id).values(status="running"))
        session.execute(update(Experiment).values(status="running"))

    # When its second result arrives
    put(scripted, claim, ended)

    # Then it is refused, and what was recorded first stays
    final = scripted.trials(experiment_id)["final"]
    assert (final.status, final.error and final.error["kind"]) == ("failed", "TestSetAlreadyOpened")
    assert final.error is not None
    assert "read the recorded result, or submit a new experiment" in final.error["message"]
    assert (len(scripted.openings()), len(scripted.models())) == (1, 1)


@pytest.mark.parametrize("reason", ["finished", "crashed", "stopped", "overdue"])
def test_trial_whose_experiment_is_cancelled_as_it_ends_is_cancelled_and_leaves_no_model(
    scripted: ScriptedWorker, reason: Any
) -> None:
    # Given a final trial that has ended, and a cancellation that comes before its record
    experiment_id, claim, ended = at_the_final_trial(scripted, promote="always")
    with scripted.database.write() as session:
        runs.cancel(session, experiment_id)

    # When the end is recorded
    put(scripted, claim, Exit(reason=reason, outcome=ended.outcome))

    # Then the experiment is cancelled, and nothing of its model is on record
    assert scripted.experiment(experiment_id).status == "cancelled"
    assert scripted.statuses(experiment_id)["final"] == "cancelled"
    assert (scripted.models(), scripted.openings()) == ([], [])
    with scripted.database.read() as session:
        assert registry.champion(session) is None


def test_seal_survives_a_crash_between_opening_and_recording(scripted: ScriptedWorker) -> None:
    # Given a final trial that opened the test set, and whose worker and folder were lost before the record
    experiment_id, claim, _ = at_the_final_trial(scripted)
    elsewhere = scripted.with_settings(work_root=scripted.worker.settings.work_root / "elsewhere")
    with scripted.database.write() as session:
        runs.fail_trial(session, claim, {"kind": "WorkerLost", "message": ""}, retry=True, max_attempts=3)
    assert (scripted.openings(), scripted.models()) == ([], [])

    # When it is repeated
    elsewhere.run_all()

    # Then one opening and one model are on record, both for the same frozen bundle
    (opening,), (model,) = scripted.openings(), scripted.models()
    assert opening.bundle_sha256 == model.bundle_sha256
    assert scripted.experiment(experiment_id).status == "succeeded"


def test_failure_while_promoting_leaves_neither_model_nor_opening(
    scripted: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the registry is on fire")

    experiment_id, claim, ended = at_the_final_trial(scripted, promote="always")
    monkeypatch.setattr(registry, "promote", refuse)
    with pytest.raises(RuntimeError):
        put(scripted, claim, ended)
    assert (scripted.models(), scripted.openings(), scripted.experiment(experiment_id).status) == ([], [], "running")


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
    scripted: ScriptedWorker, promote: str, second: dict[str, float], champion: int
) -> None:
    for promotion_mode, test in (("always", {"recall": 0.91, "specificity": 0.70}), (promote, second)):
        scripted.set_script(final={"test": test})
        scripted.submit(architectures=["CNN_v1"], strategies=[], promote=promotion_mode)
        scripted.run_all()
    versions = [model.version for model in scripted.models()]
    with scripted.database.read() as session:
        found = registry.champion(session)
        assert found is not None
        assert found.version == versions[champion]
    (result,) = [
        scripted.experiment(each.experiment_id).result for each in scripted.models() if each.version == versions[1]
    ]
    assert result is not None
    if promote == "never":
        assert result["promotion"] is None
    else:
        assert result["promotion"]["promoted"] is (champion == 1)
    if promote == "if_better":
        assert result["promotion"]["champion"] == versions[0]
        assert result["promotion"]["champion_figures"] == {"recall": 0.91, "specificity": 0.70}


def test_champion_of_another_data_set_is_not_compared_and_stays(scripted: ScriptedWorker) -> None:
    for sha256, recall, promotion_mode in (("a" * 64, 0.5, "if_better"), ("b" * 64, 0.9, "if_better")):
        scripted.set_script(final={"dataset_sha256": sha256, "test": {"recall": recall}})
        scripted.submit(architectures=["CNN_v1"], strategies=[], promote=promotion_mode)
        scripted.run_all()
    with scripted.database.read() as session:
        found = registry.champion(session)
        assert found is not None
        assert found.dataset_sha256 == "a" * 64


def test_promotion_says_who_and_why(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[], promote="always")
    scripted.run_all()
    with scripted.database.read() as session:
        (promotion,) = registry.history(session)
    assert promotion.actor == f"experiment {experiment_id}"
    assert promotion.reason == "asked for by the experiment: test recall 0.910, specificity 0.700"
