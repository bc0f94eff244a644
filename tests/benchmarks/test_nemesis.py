"""The checker of the nemesis: it reports exactly what is broken in a history."""

from typing import Any

import pytest

from benchmarks.nemesis.checking import violations
from benchmarks.nemesis.history import Fact


def fact(kind: str, at: float = 0.0, **what: Any) -> Fact:
    return {"kind": kind, "at": at, **what}


def ended(experiment: str, status: str, **changes: Any) -> Fact:
    events = [{"number": 1, "status": "queued"}, {"number": 2, "status": None}, {"number": 3, "status": status}]
    return fact("ended", 0, experiment=experiment, status=status, events=events, phases=[1, 2, 3]) | changes


def opening(experiment: str, **changes: Any) -> Fact:
    return fact("opening", experiment=experiment, trial="trl_1", bundle="b1", threshold=0.3) | changes


def model(experiment: str, **changes: Any) -> Fact:
    return fact("model", experiment=experiment, version="mdl_1", bundle="b1", threshold=0.3) | changes


def move(number: int, version: str, previous: str | None, moved: float) -> Fact:
    return fact("move", 0, id=number, version=version, previous=previous, action="promote", moved=moved)


def answered(number: int, at: float, model: str = "mdl_a") -> Fact:
    return fact("answered", at, prediction=f"prd_{number}", model=model, requested_at=at - 0.1)


def fault(began: float, ended: float, *stops: str) -> Fact:
    return fact("fault", ended, name="a fault", began=began, ended=ended, stops=list(stops))


WHOLE: list[Fact] = [
    fact("planned", experiments=2),
    fact("accepted", 1, experiment="exp_1", key="k1"),
    fact("accepted", 2, experiment="exp_1", key="k1"),
    fact("accepted", 3, experiment="exp_2", key="k2"),
    fact("cancelling", 4, experiment="exp_2"),
    opening("exp_1"),
    opening("exp_1"),
    opening("exp_2"),
    ended("exp_1", "succeeded"),
    ended("exp_2", "cancelled", phases=[1]),
    model("exp_1"),
    move(1, "mdl_a", None, 0.0),
    move(2, "mdl_b", "mdl_a", 50.0),
    answered(1, 10.0),
    answered(2, 51.5),
    answered(3, 60.0, "mdl_b"),
    fact("recorded", predictions=["prd_1", "prd_2", "prd_3"]),
]


def without(kind: str, **like: Any) -> list[Fact]:
    return [each for each in WHOLE if each["kind"] != kind or each | like != each]


def test_an_intact_history_breaks_nothing() -> None:
    assert violations(WHOLE) == []


@pytest.mark.parametrize(
    ("history", "violation"),
    [
        ([*WHOLE, fact("planned", experiments=3)], "only 2 of 3 experiments were submitted"),
        (without("ended", experiment="exp_2"), "exp_2 was accepted and is lost"),
        ([*WHOLE, ended("exp_3", "failed")], "exp_3 is on record, and no response accepted it"),
        ([*WHOLE, fact("accepted", experiment="exp_2", key="k1")], "the key k1 submitted 2 experiments"),
        (
            [*without("ended", experiment="exp_2"), ended("exp_2", "cancelling")],
            "exp_2 never ended: cancelling",
        ),
        (
            [*without("ended", experiment="exp_2"), ended("exp_2", "cancelled", phases=[1, 1])],
            "a phase of exp_2 was opened twice",
        ),
        (
            [
                *without("ended", experiment="exp_2"),
                ended("exp_2", "cancelled", events=[{"number": 2, "status": "cancelled"}]),
            ],
            "the events of exp_2 have gaps",
        ),
        (
            [
                *without("ended", experiment="exp_2"),
                ended(
                    "exp_2",
                    "cancelled",
                    events=[{"number": 1, "status": "failed"}, {"number": 2, "status": "cancelled"}],
                ),
            ],
            "its events have the ends",
        ),
        ([*WHOLE, model("exp_2")], "exp_2 is cancelled and has 1 models"),
        ([*WHOLE, model("exp_1")], "exp_1 is succeeded and has 2 models"),
        (without("model"), "exp_1 is succeeded and has 0 models"),
        ([*WHOLE, opening("exp_1", bundle="b2")], "opened for 2 bundles or thresholds of exp_1"),
        ([*WHOLE, opening("exp_1", threshold=0.4)], "opened for 2 bundles or thresholds of exp_1"),
        (
            [*without("model"), model("exp_1", threshold=0.4)],
            "the model of exp_1 is not the one that the test set was opened for",
        ),
        ([*WHOLE, move(3, "mdl_c", "mdl_a", 70.0)], "move 3 of the champion follows mdl_a, and the champion was mdl_b"),
        ([*WHOLE, answered(1, 53.0)], "answered by mdl_a 2.9 s after another was champion"),
        ([*WHOLE, answered(1, 40.0, "mdl_b")], "answered by mdl_b, which had never been champion"),
        ([*WHOLE, answered(9, 60.0, "mdl_b")], "prd_9 was answered and is not on record"),
        ([*WHOLE, answered(9, 60.0, "mdl_b"), fault(70.0, 71.0, "web")], "prd_9 was answered and is not on record"),
        ([*WHOLE, fact("left", what="a folder of a trial")], "left behind: a folder of a trial"),
    ],
)
def test_what_is_broken_is_reported(history: list[Fact], violation: str) -> None:
    found = violations(history)
    assert len(found) == 1, found
    assert violation in found[0]


@pytest.mark.parametrize(
    "more",
    [
        [answered(9, 60.0, "mdl_b"), fault(60.5, 62.0, "web")],
        [answered(9, 60.0, "mdl_b"), fault(60.1, 64.0, "database"), fault(66.0, 67.0, "web")],
        [answered(1, 54.0), fault(50.5, 53.5, "database")],
    ],
    ids=["unwritten when killed", "waiting for the database when killed", "blind while the database was away"],
)
def test_what_is_stated_as_a_bound_is_allowed(more: list[Fact]) -> None:
    assert violations([*WHOLE, *more]) == []
