"""Promotion, roll-back and their history, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from sqlalchemy.orm import Session

from models_store.database import Database, now
from models_store.store import registry
from models_store.store.registry import ModelNotFound, NothingToRollBackTo, RevisionChanged
from models_store.tables import Experiment, Model, Trial

pytestmark = pytest.mark.both_databases

NUMBERS = count(1)


def stored(session: Session) -> str:
    """A model nobody has promoted."""
    moment, number = now(session), next(NUMBERS)
    experiment = Experiment(id=f"exp_{number}", name="", priority=5, spec={}, status="succeeded", created_at=moment)
    trial = Trial(
        id=f"trl_{number}",
        experiment_id=experiment.id,
        phase=3,
        position=0,
        name="final",
        kind="finalize",
        queue="cpu",
        spec={},
        created_at=moment,
    )
    model = Model(
        version=f"mdl_{number}",
        experiment_id=experiment.id,
        trial_id=trial.id,
        winner="CNN_v1-W3",
        architecture="CNN_v1",
        dataset="dermamnist",
        dataset_sha256="0" * 64,
        synthetic=False,
        weights="imagenet",
        store_key=f"models/{number}",
        bundle_sha256="0" * 64,
        manifest_sha256="0" * 64,
        threshold=0.5,
        calibration={},
        metrics={},
        created_at=moment,
    )
    for row in (experiment, trial, model):
        session.add(row)
        session.flush()
    return model.version


@pytest.fixture
def versions(database: Database) -> list[str]:
    with database.write() as session:
        return [stored(session) for _ in range(4)]


def move(database: Database, version: str | None, expected: int | None = None) -> str:
    """Promotes `version`, or rolls back, and returns the champion."""
    with database.write() as session:
        if version is None:
            registry.roll_back(session, actor="a", reason="r", expected_revision=expected)
        else:
            registry.promote(session, version, actor="a", reason="r", expected_revision=expected)
    with database.read() as session:
        champion = registry.champion(session)
        assert champion is not None
        return champion.version


def revision(database: Database) -> int:
    with database.read() as session:
        return registry.revision(session)


def test_nothing_is_champion_before_the_first_promotion(database: Database) -> None:
    with database.read() as session:
        assert registry.champion(session) is None
        assert registry.revision(session) == 0


def test_unknown_version_is_not_promoted(database: Database) -> None:
    with pytest.raises(ModelNotFound, match="mdl_0"):
        move(database, "mdl_0")
    assert revision(database) == 0


def test_rolling_back_twice_goes_back_two_promotions(database: Database, versions: list[str]) -> None:
    a, b, c, d = versions
    assert [move(database, version) for version in (a, b, c)] == [a, b, c]
    assert [move(database, None), move(database, None)] == [b, a]
    with pytest.raises(NothingToRollBackTo):
        move(database, None)
    assert [move(database, d), move(database, None)] == [d, a]
    assert revision(database) == 7
    with database.read() as session:
        steps = [(step.action, step.version, step.previous) for step in registry.history(session)]
    assert steps[:3] == [("rollback", a, d), ("promote", d, a), ("rollback", a, b)]
    assert steps[-1] == ("promote", a, None)


@pytest.mark.parametrize("expected", [0, 2, 7])
def test_move_decided_on_another_revision_changes_nothing(
    database: Database, versions: list[str], expected: int
) -> None:
    move(database, versions[0], expected=0)
    with pytest.raises(RevisionChanged, match="at revision 1"):
        move(database, versions[1], expected=expected)
    with database.read() as session:
        assert len(registry.history(session)) == 1
    assert move(database, versions[1], expected=1) == versions[1]


def test_first_promotion_may_expect_revision_zero_only(database: Database, versions: list[str]) -> None:
    with pytest.raises(RevisionChanged):
        move(database, versions[0], expected=1)
    assert revision(database) == 0


def test_promotions_at_the_same_time_are_all_counted(database: Database, versions: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: move(database, versions[number % 4]), range(16)))
    assert revision(database) == 16
    with database.read() as session:
        steps = registry.history(session)[::-1]
    assert [step.previous for step in steps] == [None, *(step.version for step in steps[:-1])]


def test_one_of_several_that_saw_the_same_revision_wins(database: Database, versions: list[str]) -> None:
    move(database, versions[0])

    def try_to_promote(version: str) -> bool:
        try:
            move(database, version, expected=1)
        except RevisionChanged:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(try_to_promote, versions[1:])).count(True) == 1


def test_roll_backs_at_the_same_time_each_go_back_one(database: Database, versions: list[str]) -> None:
    for version in versions:
        move(database, version)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: move(database, None), range(3)))
    with database.read() as session:
        champion = registry.champion(session)
        assert champion is not None
        assert champion.version == versions[0]
