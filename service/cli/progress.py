"""Shows a running experiment: one bar per trial, with recall, specificity and AUC of its last epoch and time left."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from dermatriage_client import Client, Event, ServerUnreachable
from dermatriage_client.schemas import EpochRead, ExperimentRead, TrialRead
from service.cli.results import waiting_line

CHECK_SECONDS = 0.5
# Enough for the restart of the server or its machine; the experiment continues meanwhile.
MAX_OUTAGE_SECONDS = 120.0
RECENT_EPOCHS = 5
SHOWN = (("recall", "val_recall"), ("specificity", "val_specificity"), ("AUC", "val_auc"))
PHASES = {0: "waiting", 1: "phase 1 of 3, screening", 2: "phase 2 of 3, fine-tuning", 3: "phase 3 of 3, final test"}
Received = Event | Exception | None


def follow(
    client: Client, experiment_id: str, console: Console, check: Callable[[], None] = lambda: None
) -> ExperimentRead:
    """Shows the experiment until it has ended, and returns it. `check` is called twice a second and may raise."""
    followed = FollowedExperiment(client, experiment_id)
    followed.read()
    received = _events(client, experiment_id)
    with _display(console) as display:
        while True:
            check()
            followed.update(_receive(received))
            followed.refresh()
            if followed.is_complete:
                display.show(followed.experiment, followed.trials)
            if followed.ended and not followed.outdated:
                return followed.experiment


def _events(client: Client, experiment_id: str) -> SimpleQueue[Received]:
    """The events as a thread receives them; after the last one None, or the error that ended them."""
    received: SimpleQueue[Received] = SimpleQueue()

    def receive() -> None:
        try:
            for event in client.watch(experiment_id):
                received.put(event)
            received.put(None)
        except Exception as error:
            received.put(error)

    Thread(target=receive, name="events", daemon=True).start()
    return received


def _receive(received: SimpleQueue[Received]) -> list[Received]:
    """Everything that has arrived; waits at most `CHECK_SECONDS` for the first item."""
    items: list[Received] = []
    with suppress(Empty):
        items.append(received.get(timeout=CHECK_SECONDS))
        while True:
            items.append(received.get_nowait())
    return items


@dataclass
class FollowedExperiment:
    """An experiment and its trials as they were last read, with the epochs that events brought.

    It is `outdated` between an event that changes more than an epoch and the next answer of the server.
    """

    client: Client
    experiment_id: str
    ended: bool = False
    outdated: bool = False
    _epochs: dict[str, list[EpochRead]] = field(default_factory=dict)
    _most_epochs: dict[str, int] = field(default_factory=dict)
    _event_at: dict[str, datetime] = field(default_factory=dict)

    def read(self) -> None:
        """Reads the experiment before its trials, so that the last read misses none."""
        self._experiment = self.client.experiment(self.experiment_id)
        self._trials = self.client.trials(self.experiment_id, epochs=False)
        self._read_at, self.outdated = time.monotonic(), False

    def refresh(self) -> None:
        """Reads again if an event made that necessary. Raises `ServerUnreachable` after `MAX_OUTAGE_SECONDS`."""
        try:
            if self.outdated:
                self.read()
        except ServerUnreachable:
            if time.monotonic() - self._read_at > MAX_OUTAGE_SECONDS:
                raise

    def update(self, items: Iterable[Received]) -> None:
        for each in items:
            if isinstance(each, Exception):
                raise each
            if each is None:
                self.ended = self.outdated = True
            else:
                self._add_event(each)

    @property
    def is_complete(self) -> bool:
        """Whether the events of all epochs so far have arrived; before that, lines would be printed out of order."""
        return self.ended or all(trial.epochs_done <= self._most_epochs.get(trial.id, 0) for trial in self._trials)

    @property
    def experiment(self) -> ExperimentRead:
        """The experiment as last read, with the progress of the epochs since then."""
        spec, trials = self._experiment.spec, self.trials
        planned = len(spec["architectures"]) * len(spec["class_weights"]) + len(spec["strategies"]) + 1
        done = sum(1.0 if trial.finished_at else trial.epochs_done / spec["epochs"] for trial in trials)
        progress = max(self._experiment.progress, min(done / planned, 1.0))
        return self._experiment.model_copy(update={"progress": progress})

    @property
    def trials(self) -> list[TrialRead]:
        return [self._with_epochs(trial) for trial in self._trials]

    def _with_epochs(self, trial: TrialRead) -> TrialRead:
        epochs = self._epochs.get(trial.id, [])
        done = epochs[-1].number if epochs else trial.epochs_done
        return trial.model_copy(update={"epochs": epochs, "epochs_done": done})

    def _add_event(self, event: Event) -> None:
        trial_id = event.data.get("trial_id", "")
        if event.kind == "epoch":
            self._add_epoch(trial_id, event)
        else:
            self.outdated = True
        self._event_at[trial_id] = event.at

    def _add_epoch(self, trial_id: str, event: Event) -> None:
        """A new attempt repeats epoch numbers, so later epochs of the previous attempt are removed."""
        seconds = (event.at - self._event_at.get(trial_id, event.at)).total_seconds()
        epoch = EpochRead.model_validate({**event.data, "seconds": seconds, "created_at": event.at})
        before = [known for known in self._epochs.get(trial_id, ()) if known.number < epoch.number]
        self._epochs[trial_id] = [*before, epoch]
        self._most_epochs[trial_id] = max(self._most_epochs.get(trial_id, 0), epoch.number)


def epoch_figures(metrics: Mapping[str, Any]) -> str:
    """Recall first, on the selection split."""
    return "  ".join(f"{name} {metrics[key]:.3f}" for name, key in SHOWN if isinstance(metrics.get(key), float))


def seconds_left(epochs: list[EpochRead], max_epochs: int) -> float:
    """Until the last epoch at the pace of the recent ones; a trial that stops early takes less."""
    recent = [epoch.seconds for epoch in epochs[-RECENT_EPOCHS:]]
    return (max_epochs - len(epochs)) * sum(recent) / len(recent) if recent else 0.0


@dataclass
class Bars:
    """Live bars for a terminal."""

    console: Console
    bars: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # In a narrow terminal only the figures wrap.
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[figures]}", table_column=Column()),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            console=self.console,
        )

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, experiment: ExperimentRead, trials: list[TrialRead]) -> None:
        bar = self._bar("experiment", PHASES[experiment.phase], 1.0)
        self.progress.update(
            bar,
            description=f"[bold]{_phase(experiment, experiment.phase)}",
            completed=experiment.progress,
            figures=f"{experiment.progress:.0%}",
        )
        for trial in trials:
            if trial.status != "queued":
                self._show_trial(trial, _epochs_of(trial, experiment))

    def _show_trial(self, trial: TrialRead, epochs: int) -> None:
        ended = trial.finished_at is not None
        trains = trial.kind == "train"
        bar = self._bar(trial.id, f"  {trial.name}", float(epochs) if trains or ended else None)
        done = epochs if ended else trial.epochs_done
        figures = f"{trial.status}  {_best(trial)}" if ended else _latest(trial, epochs)
        self.progress.update(bar, completed=done, total=epochs if trains or ended else None, figures=figures)
        if ended:
            self.progress.stop_task(bar)

    def _bar(self, key: str, description: str, total: float | None) -> TaskID:
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(description, total=total, figures="")
        return self.bars[key]


@dataclass
class Lines:
    """One line per epoch and per finished trial, for a log file or a pipe."""

    console: Console
    printed: set[tuple[str, object]] = field(default_factory=set)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, experiment: ExperimentRead, trials: list[TrialRead]) -> None:
        """Prints what is new since the last call, in order: each phase, then its trials."""
        for phase in range(max(experiment.phase, *(trial.phase for trial in trials), 0) + 1):
            self._print_once(("experiment", phase), _phase(experiment, phase))
            for trial in trials:
                if trial.phase == phase:
                    self._print_trial(trial, _epochs_of(trial, experiment))

    def _print_trial(self, trial: TrialRead, epochs: int) -> None:
        for epoch in trial.epochs or ():
            figures = epoch_figures(epoch.metrics)
            self._print_once((trial.id, epoch.number), f"  {trial.name} epoch {epoch.number}/{epochs}  {figures}")
        if trial.finished_at is not None:
            self._print_once((trial.id, "ended"), f"  {trial.name} {trial.status}  {_best(trial)}")

    def _print_once(self, key: tuple[str, object], line: str) -> None:
        if key not in self.printed:
            self.printed.add(key)
            self.console.print(line.rstrip(), soft_wrap=True, markup=False)


def _display(console: Console) -> Bars | Lines:
    return Bars(console) if console.is_terminal else Lines(console)


def _phase(experiment: ExperimentRead, phase: int) -> str:
    waiting = experiment.waiting
    return PHASES[phase] if phase > 0 or waiting is None else f"{PHASES[0]}, {waiting_line(waiting)}"


def _epochs_of(trial: TrialRead, experiment: ExperimentRead) -> int:
    """How many epochs the trial trains unless it stops early."""
    return int(trial.spec.get("epochs") or experiment.spec["epochs"])


def _latest(trial: TrialRead, epochs: int) -> str:
    if not trial.epochs:
        return trial.status
    left = timedelta(seconds=round(seconds_left(trial.epochs, epochs)))
    return f"{trial.epochs_done}/{epochs}  {epoch_figures(trial.epochs[-1].metrics)}  {left} left"


def _best(trial: TrialRead) -> str:
    """The figures of the epoch that the trial keeps."""
    best = next((epoch for epoch in trial.epochs or () if epoch.number == trial.best_epoch), None)
    if best is not None:
        return f"best epoch {best.number}  {epoch_figures(best.metrics)}"
    return "" if trial.error is None else trial.error.message
