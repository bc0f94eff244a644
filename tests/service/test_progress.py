"""The display of a running experiment: bars, recall first, and the time left; lines without a terminal."""

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from dermatriage_client import Event, ServerUnreachable
from dermatriage_client.schemas import EpochRead, ExperimentRead, TrialRead
from service.cli import progress

EXPERIMENT: Any = ExperimentRead.model_config["json_schema_extra"]
TRIAL: Any = TrialRead.model_config["json_schema_extra"]
AT = "2026-01-05T09:30:00Z"


def experiment(**changes: Any) -> ExperimentRead:
    example = EXPERIMENT["example"]
    return ExperimentRead.model_validate({**example, "spec": {**example["spec"], "epochs": 30}, **changes})


def epoch(number: int, seconds: float = 2.0) -> EpochRead:
    metrics = {"val_auc": 0.88, "val_specificity": 0.74, "val_recall": 0.87}
    data = {"number": number, "metrics": metrics, "seconds": seconds, "eligible": True, "best": True, "created_at": AT}
    return EpochRead.model_validate(data)


def trial(epochs: int, **changes: Any) -> TrialRead:
    running = {"status": "running", "finished_at": None, "best_epoch": None, "epochs_done": epochs}
    shown = [epoch(number + 1).model_dump() for number in range(epochs)]
    return TrialRead.model_validate({**TRIAL["example"], **running, "epochs": shown, **changes})


def printed(terminal: bool, *states: tuple[ExperimentRead, list[TrialRead]], width: int = 160) -> str:
    output = io.StringIO()
    display = progress._display(Console(file=output, force_terminal=terminal, width=width, color_system=None))
    with display:
        for state in states:
            display.show(*state)
    return output.getvalue()


@pytest.mark.parametrize(
    ("seconds", "left"),
    [((), 0.0), ((4.0,), 36.0), ((100.0, 1.0, 1.0, 1.0, 1.0, 1.0), 4.0), ((1.0,) * 10, 0.0)],
    ids=["none", "one", "the last five", "all"],
)
def test_time_left_follows_the_pace_of_the_last_epochs(seconds: tuple[float, ...], left: float) -> None:
    epochs = [epoch(number, took) for number, took in enumerate(seconds, start=1)]

    assert progress.seconds_left(epochs, 10) == left


def test_bar_of_a_running_trial_shows_its_epoch_recall_first_and_the_time_left() -> None:
    screen = printed(True, (experiment(status="running", phase=1, progress=0.25), [trial(24)]))

    assert "phase 1 of 3, screening" in screen
    assert "25%" in screen
    assert "24/30  recall 0.870  specificity 0.740  AUC 0.880  0:00:12 left" in screen


def test_bars_and_figures_are_complete_in_a_narrow_terminal() -> None:
    screen = printed(True, (experiment(status="running", phase=1), [trial(15, name="ResNet_v1/W3")]), width=80)

    *_, bar = (line for line in screen.splitlines() if "ResNet_v1/W3" in line)
    assert "\u2501" * 5 in bar
    assert "recall 0.870  specificity" in bar
    assert "left" in screen


def test_bar_of_a_collapsed_trial_shows_the_cause() -> None:
    ended = trial(2, status="collapsed", finished_at=AT, error={"kind": "collapsed", "message": "none was eligible"})

    assert "collapsed  none was eligible" in printed(True, (experiment(phase=1), [ended]))


def test_lines_show_each_epoch_once_and_a_phase_before_its_trials() -> None:
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
    """Yields these events and answers; is unreachable where an answer is None; records what was read."""

    events: list[Event]
    answers: Iterator[ExperimentRead | None]
    shown: list[TrialRead]
    reads: list[bool] = field(default_factory=list)

    def watch(self, _: str) -> Iterator[Event]:
        yield from self.events

    def experiment(self, _: str) -> ExperimentRead:
        answer = next(self.answers)
        if answer is None:
            raise ServerUnreachable("unreachable")
        return answer

    def trials(self, _: str, *, epochs: bool) -> list[TrialRead]:
        self.reads.append(epochs)
        return self.shown


def event(number: int, kind: str, second: int = 0, /, **data: Any) -> Event:
    return Event(number, kind, data, datetime(2026, 1, 5, 9, 30, second, tzinfo=UTC))


def epoch_event(number: int, epoch: int, second: int) -> Event:
    fields = {"number": epoch, "metrics": {"val_recall": 0.5 + epoch / 100}, "eligible": True, "best": True}
    return event(number, "epoch", second, trial_id="trl_1", **fields)


RUNNING = event(1, "trial", trial_id="trl_1", status="running", name="a")
LAST = event(9, "experiment", 30, status="succeeded")
Follow = Callable[..., tuple[ExperimentRead, Server, str]]


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Follow:
    monkeypatch.setattr(progress, "CHECK_SECONDS", 0.01)

    def run(
        events: list[Event],
        *answers: ExperimentRead | None,
        trials: Sequence[TrialRead] = (),
        check: Callable[[], None] = lambda: None,
    ) -> tuple[ExperimentRead, Server, str]:
        server, output = Server(events, iter(answers), list(trials)), io.StringIO()
        client: Any = server
        return progress.follow(client, "exp_1", Console(file=output, width=160), check), server, output.getvalue()

    return run


def test_temporary_outage_of_the_server_ends_nothing(follow: Follow) -> None:
    ended, _, _ = follow([RUNNING, LAST], experiment(status="running"), None, None, experiment(status="succeeded"))

    assert ended.status == "succeeded"


def test_server_that_never_answered_is_an_error_at_once(follow: Follow) -> None:
    with pytest.raises(ServerUnreachable):
        follow([], None)


def test_epochs_come_from_events_alone(follow: Follow) -> None:
    events = [RUNNING, epoch_event(2, 1, 4), epoch_event(3, 2, 8), LAST]
    ended = trial(2, id="trl_1", name="a", status="succeeded", finished_at=AT, best_epoch=2)
    same = itertools.repeat(experiment(status="succeeded", phase=1))

    _, server, lines = follow(events, *itertools.islice(same, 9), trials=[ended])

    assert not any(server.reads)
    assert [line.strip() for line in lines.splitlines()] == [
        "waiting",
        "phase 1 of 3, screening",
        "a epoch 1/30  recall 0.510",
        "a epoch 2/30  recall 0.520",
        "a succeeded  best epoch 2  recall 0.520",
    ]


def test_pace_is_the_time_between_events() -> None:
    client: Any = None
    experiment = progress.FollowedExperiment(client, "exp_1")
    experiment._trials = [trial(0, id="trl_1")]

    experiment.update([RUNNING, epoch_event(2, 1, 4), epoch_event(3, 2, 10)])

    [shown] = experiment.trials
    assert [each.seconds for each in shown.epochs or ()] == [4, 6]


def test_new_attempt_replaces_the_epochs_of_the_previous_one() -> None:
    client: Any = None
    experiment = progress.FollowedExperiment(client, "exp_1")
    experiment._trials = [trial(0, id="trl_1")]

    experiment.update([RUNNING, epoch_event(2, 1, 4), epoch_event(3, 2, 10), RUNNING, epoch_event(5, 1, 20)])

    [shown] = experiment.trials
    assert [each.number for each in shown.epochs or ()] == [1]


def test_nothing_is_shown_ahead_of_epochs_that_have_not_arrived() -> None:
    client: Any = None
    experiment = progress.FollowedExperiment(client, "exp_1")
    experiment._trials = [trial(2, id="trl_1", status="succeeded", finished_at=AT)]

    experiment.update([epoch_event(2, 1, 4)])
    assert not experiment.is_complete
    experiment.update([epoch_event(3, 2, 8)])
    assert experiment.is_complete


def test_check_is_called_while_no_event_comes(follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, calls = threading.Event(), itertools.count(1)

    def silent(*_: object) -> Iterator[Event]:
        gate.wait()
        return iter(())

    def check() -> None:
        if next(calls) == 3:
            raise ChildProcessError("a process died")

    monkeypatch.setattr(Server, "watch", silent)
    try:
        with pytest.raises(ChildProcessError):
            follow([], experiment(status="running"), check=check)
    finally:
        gate.set()


def test_trials_are_read_again_only_when_more_than_an_epoch_changed(follow: Follow) -> None:
    same = experiment(status="running", progress=0.5)
    epochs = [epoch_event(number, number, number) for number in range(1, 9)]

    _, server, _ = follow([*epochs, LAST], same, experiment(status="succeeded"), experiment(status="succeeded"))

    assert len(server.reads) <= 3
