"""A study as it runs: one bar a trial, with recall, specificity and AUC of its last epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from service.client import Client

Json = dict[str, Any]
ENDED = ("succeeded", "failed", "cancelled")
POLL_SECONDS = 0.5
SHOWN = (("recall", "val_recall"), ("specificity", "val_specificity"), ("AUC", "val_auc"))
PHASES = {0: "waiting", 1: "phase 1 of 3, screening", 2: "phase 2 of 3, fine-tuning", 3: "phase 3 of 3, final test"}


def follow(client: Client, experiment_id: str, console: Console, check: Callable[[], None] = lambda: None) -> Json:
    """Shows the experiment until it has ended, and returns it. `check` may raise at every look."""
    with _display(console) as display:
        while True:
            check()
            experiment = client.experiment(experiment_id)  # before the trials, so that the last look misses none
            display.show(experiment, client.trials(experiment_id))
            if experiment["status"] in ENDED:
                return experiment
            time.sleep(POLL_SECONDS)


def epoch_figures(metrics: Json) -> str:
    """Recall first, on the selection split."""
    return "  ".join(f"{name} {metrics[key]:.3f}" for name, key in SHOWN if isinstance(metrics.get(key), float))


@dataclass
class Bars:
    """Live bars for a terminal."""

    console: Console
    bars: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[figures]}"))
        self.progress = Progress(*columns, TimeElapsedColumn(), console=self.console)

    def __enter__(self) -> "Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, experiment: Json, trials: list[Json]) -> None:
        study = self._bar("study", PHASES[experiment["phase"]], 1.0)
        self.progress.update(
            study,
            description=f"[bold]{PHASES[experiment['phase']]}",
            completed=experiment["progress"],
            figures=f"{experiment['progress']:.0%}",
        )
        for trial in trials:
            if trial["status"] != "queued":
                self._show_trial(trial, experiment["spec"]["epochs"])

    def _show_trial(self, trial: Json, epochs: int) -> None:
        ended = trial["finished_at"] is not None
        trains = trial["kind"] == "train"
        bar = self._bar(trial["id"], f"  {trial['name']}", float(epochs) if trains or ended else None)
        last = trial["epochs"][-1] if trial["epochs"] else None
        figures = f"{trial['epochs_done']}/{epochs}  {epoch_figures(last['metrics'])}" if last else trial["status"]
        if ended:
            figures = f"{trial['status']}  {_best(trial)}"
        done = epochs if ended else trial["epochs_done"]
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

    def show(self, experiment: Json, trials: list[Json]) -> None:
        self._say(("study", experiment["phase"]), PHASES[experiment["phase"]])
        for trial in trials:
            name, epochs = trial["name"], experiment["spec"]["epochs"]
            for epoch in trial["epochs"] or ():
                figures = epoch_figures(epoch["metrics"])
                self._say((trial["id"], epoch["number"]), f"  {name} epoch {epoch['number']}/{epochs}  {figures}")
            if trial["finished_at"] is not None:
                self._say((trial["id"], "ended"), f"  {name} {trial['status']}  {_best(trial)}")

    def _say(self, key: tuple[str, object], line: str) -> None:
        if key not in self.said:
            self.said.add(key)
            self.console.print(line.rstrip(), soft_wrap=True)


def _display(console: Console) -> Bars | Lines:
    return Bars(console) if console.is_terminal else Lines(console)


def _best(trial: Json) -> str:
    """The figures of the epoch that the trial keeps."""
    best = next((epoch for epoch in trial["epochs"] or () if epoch["number"] == trial["best_epoch"]), None)
    if best is not None:
        return f"best epoch {best['number']}  {epoch_figures(best['metrics'])}"
    return str((trial["error"] or {}).get("message", ""))
