"""The health check of workers and sweeper."""

from pathlib import Path

import pytest

from models_store.reachable import main, unreachable
from models_store.settings import Settings

NOBODY = "127.0.0.1:1"


def test_nothing_is_unreachable_when_database_and_broker_answer(tmp_path: Path, broker_url: str) -> None:
    assert unreachable(Settings(database_url=f"sqlite:///{tmp_path}/a.db", broker_url=broker_url)) == []


def test_unreachable_services_are_named_with_their_cause(broker_url: str) -> None:
    settings = Settings(database_url=f"postgresql://nobody@{NOBODY}/none", broker_url=broker_url)
    assert [finding.partition(":")[0] for finding in unreachable(settings)] == ["the database does not answer"]


def test_a_broker_that_is_away_is_named(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/a.db", broker_url=f"redis://{NOBODY}/0")
    assert [finding.partition(":")[0] for finding in unreachable(settings)] == ["the broker does not answer"]


def test_the_exit_status_shows_whether_everything_answers(tmp_path: Path, broker_url: str) -> None:
    database_url = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(SystemExit) as well:
        main(Settings(database_url=database_url, broker_url=broker_url))
    with pytest.raises(SystemExit) as broken:
        main(Settings(database_url=database_url, broker_url=f"redis://{NOBODY}/0"))
    assert well.value.code == 0
    assert "the broker does not answer" in str(broken.value.code)
