"""What a person sees of a running study: bars with recall first and the time left; lines where there is no terminal."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from dermatriage_client import ServerUnreachable
from dermatriage_client.schemas import EpochRead, ExperimentRead, TrialRead
from service.cli import progress

EXPERIMENT: Any = ExperimentRead.model_config["json_schema_extra"]
TRIAL: Any = TrialRead.model_config["json_schema_extra"]
AT = "2026-01-05T09:30:00Z"


def experiment(**changes: Any) -> ExperimentRead:
    return ExperimentRead.model_validate({**EXPERIMENT["example"], **changes})


def epoch(number: int, seconds: float = 2.0) -> EpochRead:
    metrics = {"val_auc": 0.88, "val_specificity": 0.74, "val_recall": 0.87}
    told = {"number": number, "metrics": metrics, "seconds": seconds, "eligible": True, "best": True, "created_at": AT}
    return EpochRead.model_validate(told)


def trial(epochs: int, **changes: Any) -> TrialRead:
    running = {"status": "running", "finished_at": None, "best_epoch": None, "epochs_done": epochs}
    shown = [epoch(number + 1).model_dump() for number in range(epochs)]
    return TrialRead.model_validate({**TRIAL["example"], **running, "epochs": shown, **changes})


def printed(terminal: bool, *looks: tuple[ExperimentRead, list[TrialRead]], width: int = 160) -> str:
    output = io.StringIO()
    display = progress._display(Console(file=output, force_terminal=terminal, width=width, color_system=None))
    with display:
        for look in looks:
            display.show(*look)
    return output.getvalue()


@pytest.mark.parametrize(
    ("seconds", "left"),
    [((), 0.0), ((4.0,), 36.0), ((100.0, 1.0, 1.0, 1.0, 1.0, 1.0), 4.0), ((1.0,) * 10, 0.0)],
    ids=["none", "one", "the last five", "all"],
)
def test_time_left_goes_by_the_pace_of_the_last_epochs(seconds: tuple[float, ...], left: float) -> None:
    epochs = [epoch(number, took) for number, took in enumerate(seconds, start=1)]

    assert progress.seconds_left(epochs, 10) == left


def test_bar_of_a_running_trial_tells_its_epoch_recall_first_and_the_time_left() -> None:
    screen = printed(True, (experiment(status="running", phase=1, progress=0.25), [trial(24)]))

    assert "phase 1 of 3, screening" in screen
    assert "25%" in screen
    assert "24/30  recall 0.870  specificity 0.740  AUC 0.880  0:00:12 left" in screen


def test_bars_and_figures_are_whole_in_a_narrow_terminal() -> None:
    screen = printed(True, (experiment(status="running", phase=1), [trial(15, name="ResNet_v1/W3")]), width=80)

    *_, bar = (line for line in screen.splitlines() if "ResNet_v1/W3" in line)
    assert "\u2501" * 5 in bar
    assert "recall 0.870  specificity" in bar
    assert "left" in screen


def test_bar_of_a_collapsed_trial_tells_why() -> None:
    ended = trial(2, status="collapsed", finished_at=AT, error={"kind": "collapsed", "message": "none was eligible"})

    assert "collapsed  none was eligible" in printed(True, (experiment(phase=1), [ended]))


def test_lines_tell_each_epoch_once_and_a_phase_before_its_trials() -> None:
    first, second = trial(1), trial(2, status="succeeded", finished_at=AT, best_epoch=2)
    tuned = trial(1, id="trl_2", name="CNN_v1/LowLR", phase=2)

    lines = printed(False, (experiment(phase=1), [first]), (experiment(phase=2), [second, tuned])).splitlines()

    assert [line.split("  recall")[0].strip() for line in lines] == [
        "waiting",
        "phase 1 of 3, screening",
        "CNN_v1-W3 epoch 1/30",
        "CNN_v1-W3 epoch 2/30",
        "CNN_v1-W3 succeeded  best epoch 2",
        "phase 2 of 3, fine-tuning",
        "CNN_v1/LowLR epoch 1/30",
    ]


@dataclass
class Server:
    """Answers, or is away, as told; counts how often the trials were read."""

    answers: Iterator[ExperimentRead | None]
    reads: list[str] = field(default_factory=list)

    def experiment(self, _: str) -> ExperimentRead:
        answer = next(self.answers)
        if answer is None:
            raise ServerUnreachable("away")
        return answer

    def trials(self, experiment_id: str) -> list[TrialRead]:
        self.reads.append(experiment_id)
        return []


Follow = Callable[..., ExperimentRead]


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Follow:
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.0)

    def run(*answers: ExperimentRead | None) -> tuple[ExperimentRead, Server]:
        server = Server(iter(answers))
        client: Any = server
        return progress.follow(client, "exp_1", Console(file=io.StringIO())), server

    return run


def test_server_that_is_away_for_a_while_ends_nothing(follow: Follow) -> None:
    ended, _ = follow(experiment(status="running"), None, None, experiment(status="succeeded"))

    assert ended.status == "succeeded"


def test_server_that_was_never_there_is_said_at_once(follow: Follow) -> None:
    with pytest.raises(ServerUnreachable):
        follow(None, experiment())


def test_trials_are_read_again_only_when_something_changed(follow: Follow) -> None:
    same = experiment(status="running", progress=0.5)

    _, server = follow(same, same, same, experiment(status="succeeded"))

    assert len(server.reads) == 2
