"""Control messages are answered, acknowledged, and never able to stop the desk."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from workers.worker.control import ControlDesk

from models_store.broker import ADVANCE
from tests.workers.conftest import SPEC, Stage


@dataclass
class Message:
    """As much of kombu's as the desk uses."""

    task: str = ADVANCE
    acknowledged: int = 0
    headers: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.headers = {"task": self.task}

    def ack(self) -> None:
        self.acknowledged += 1


def submit_quietly(stage: Stage) -> str:
    from models_store import runs
    from models_store.contract.specs import ExperimentSpec

    with stage.database.write() as session:
        return runs.submit(session, ExperimentSpec.model_validate(SPEC).model_dump(mode="json")).id


def test_message_that_comes_twice_opens_one_phase(stage: Stage) -> None:
    experiment_id, desk = submit_quietly(stage), ControlDesk(stage.worker)
    for message in (Message(), Message()):
        desk.answer(([experiment_id], {}, {}), message)
        assert message.acknowledged == 1
    assert len(stage.trials(experiment_id)) == 2


@pytest.mark.parametrize(
    ("body", "task"),
    [(([], {}, {}), ADVANCE), ("nonsense", ADVANCE), ((["exp_0"], {}, {}), ADVANCE), ((["x"], {}, {}), "another.task")],
)
def test_message_that_makes_no_sense_is_put_away(stage: Stage, body: Any, task: str) -> None:
    message = Message(task)
    ControlDesk(stage.worker).answer(body, message)
    assert message.acknowledged == 1
