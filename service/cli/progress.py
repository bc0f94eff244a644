"""A study as it runs: one bar a trial, with recall, specificity and AUC of its last epoch and the time left."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from dermatriage_client import Client, ServerUnreachable
from dermatriage_client.schemas import ENDED, EpochRead, ExperimentRead, TrialRead

POLL_SECONDS = 0.5
# A server that is restarted, also by a whole machine, is waited for; the study goes on without it.
AWAY_SECONDS = 120.0
RECENT_EPOCHS = 5
SHOWN = (("recall", "val_recall"), ("specificity", "val_specificity"), ("AUC", "val_auc"))
PHASES = {0: "waiting", 1: "phase 1 of 3, screening", 2: "phase 2 of 3, fine-tuning", 3: "phase 3 of 3, final test"}


def follow(
    client: Client, experiment_id: str, console: Console, check: Callable[[], None] = lambda: None
) -> ExperimentRead:
    """Shows the experiment until it has ended, and returns it. `check` may raise at every look."""
    seen: object = None
    answered = time.monotonic()
    with _display(console) as display:
        while True:
            check()
            try:
                experiment = client.experiment(experiment_id)  # before the trials, so that the last look misses none
                now = (experiment.status, experiment.phase, experiment.progress, experiment.attempts)
                if now != seen:
                    display.show(experiment, client.trials(experiment_id))
                seen, answered = now, time.monotonic()
            except ServerUnreachable:
                if seen is None or time.monotonic() - answered > AWAY_SECONDS:
                    raise
            else:
                if experiment.status in ENDED:
                    return experiment
            time.sleep(POLL_SECONDS)


def epoch_figures(metrics: Mapping[str, Any]) -> str:
    """Recall first, on the selection split."""
    return "  ".join(f"{name} {metrics[key]:.3f}" for name, key in SHOWN if isinstance(metrics.get(key), float))


def seconds_left(epochs: list[EpochRead], most: int) -> float:
    """At the pace of the last epochs, to the last one; a trial that stops early takes less."""
    recent = [epoch.seconds for epoch in epochs[-RECENT_EPOCHS:]]
    return (most - len(epochs)) * sum(recent) / len(recent) if recent else 0.0


@dataclass
class Bars:
    """Live bars for a terminal."""

    console: Console
    bars: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # In a narrow terminal the figures wrap, and nothing else gives way.
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
        study = self._bar("study", PHASES[experiment.phase], 1.0)
        self.progress.update(
            study,
            description=f"[bold]{PHASES[experiment.phase]}",
            completed=experiment.progress,
            figures=f"{experiment.progress:.0%}",
        )
        for trial in trials:
            if trial.status != "queued":
                self._show_trial(trial, experiment.spec["epochs"])

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
    """One line an epoch and one a finished trial, for a log file or a pipe."""

    console: Console
    said: set[tuple[str, object]] = field(default_factory=set)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, experiment: ExperimentRead, trials: list[TrialRead]) -> None:
        """Also what happened between two looks is said in its order: a phase, then its trials."""
        for phase in range(max(experiment.phase, *(trial.phase for trial in trials), 0) + 1):
            self._say(("study", phase), PHASES[phase])
            for trial in trials:
                if trial.phase == phase:
                    self._say_trial(trial, experiment.spec["epochs"])

    def _say_trial(self, trial: TrialRead, epochs: int) -> None:
        for epoch in trial.epochs or ():
            figures = epoch_figures(epoch.metrics)
            self._say((trial.id, epoch.number), f"  {trial.name} epoch {epoch.number}/{epochs}  {figures}")
        if trial.finished_at is not None:
            self._say((trial.id, "ended"), f"  {trial.name} {trial.status}  {_best(trial)}")

    def _say(self, key: tuple[str, object], line: str) -> None:
        if key not in self.said:
            self.said.add(key)
            self.console.print(line.rstrip(), soft_wrap=True, markup=False)


def _display(console: Console) -> Bars | Lines:
    return Bars(console) if console.is_terminal else Lines(console)


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
