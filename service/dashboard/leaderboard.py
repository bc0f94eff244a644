"""The progress of an experiment: its phases, and its trials ordered by rank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import ENDED
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import epochs_of
from models_store.experiment.ranking import Ranking
from models_store.tables import EpochRow, Experiment, Trial, TrialLog
from service.presentation.experiment import ranked

Json = Mapping[str, Any]
PhaseState = Literal["waiting", "active", "done", "skipped", "not reached"]
TITLES = {1: "Screening", 2: "Fine-tuning", 3: "Final evaluation"}


@dataclass(frozen=True)
class Tile:
    """One trial in the overview of phases; `done` is the share of its epochs, 0 to 1."""

    name: str
    status: str
    done: float


@dataclass(frozen=True)
class Phase:
    """One phase with its trials, planned or started, and its outcome."""

    number: int
    state: PhaseState
    tiles: Sequence[Tile]
    outcome: str

    @property
    def title(self) -> str:
        return TITLES[self.number]


@dataclass(frozen=True)
class Place:
    """One trial on the leaderboard; `figures` belong to its best epoch so far."""

    trial: Trial
    rank: int | None
    figures: Json
    best_epoch: int | None
    has_log: bool

    @property
    def reason(self) -> str:
        return str((self.trial.error or {}).get("message", ""))

    @property
    def seconds(self) -> float | None:
        """From the first start to the end, or until now."""
        if self.trial.started_at is None:
            return None
        return ((self.trial.finished_at or datetime.now(UTC)) - self.trial.started_at).total_seconds()

    @property
    def ran_on(self) -> str:
        environment = self.trial.environment or {}
        worker = (self.trial.worker or "").partition(":")[0]
        return ", ".join(str(part) for part in (worker, environment.get("device")) if part)


def phases(experiment: Experiment, spec: ExperimentSpec, trials: Sequence[Trial]) -> list[Phase]:
    """The three phases; those not yet opened have their planned trials."""
    screened = _names(trials, 1) or [f"{name}/{weight}" for name in spec.architectures for weight in spec.class_weights]
    tuned = _names(trials, 2) or list(spec.strategies)
    ranking, winner = Ranking.of(spec), (experiment.result or {}).get("winner")
    leader = next(iter(ranking.order([trial for trial in trials if trial.phase == 1])), None)
    outcomes = {
        1: f"{leader.name} leads: {ranking.figure(leader)}" if leader and experiment.phase > 1 else "",
        2: f"{winner or _winner_of_final_trial(trials)} wins" if experiment.phase > 2 and spec.strategies else "",
        3: "calibrated and tested" if winner else "",
    }
    planned = {1: screened, 2: tuned, 3: ["calibrate and test"]}
    return [
        Phase(number, _state(experiment, spec, number), _tiles(planned[number], spec, trials, number), outcome)
        for number, outcome in outcomes.items()
    ]


def columns(ranking: Ranking) -> dict[str, str]:
    """The figures of the leaderboard and their labels; the one that ranks is among them."""
    shown = {"val_recall": "Recall", "val_specificity": "Specificity", "val_auc": "ROC AUC"}
    return shown if ranking.metric in shown else {ranking.metric: ranking.label.capitalize(), **shown}


def leaderboard(session: Session, spec: ExperimentSpec, trials: Sequence[Trial]) -> list[Place]:
    """Finished trials by rank, then those that run or wait, then those without a result."""
    so_far = _best_so_far(session, [trial.id for trial in trials if trial.status in ("running", "cancelling")])
    ids = [trial.id for trial in trials]
    logs = set(session.scalars(select(TrialLog.trial_id).where(TrialLog.trial_id.in_(ids))))
    order = ("succeeded", "running", "cancelling", "queued", "collapsed", "pruned", "failed", "cancelled")
    trained = ranked(spec, [trial for trial in trials if trial.kind == "train"])
    ordered = sorted(trained, key=lambda trial: order.index(trial.status))
    places: list[Place] = []
    for trial in ordered:
        best = so_far.get(trial.id)
        places.append(
            Place(
                trial=trial,
                rank=len(places) + 1 if trial.status == "succeeded" else None,
                figures=trial.metrics or (best.metrics if best else {}),
                best_epoch=trial.best_epoch or (best.number if best else None),
                has_log=trial.id in logs,
            )
        )
    final = next((trial for trial in trials if trial.kind == "finalize"), None)
    return places + ([] if final is None else [Place(final, None, {}, None, final.id in logs)])


def _names(trials: Sequence[Trial], phase: int) -> list[str]:
    return [trial.name for trial in trials if trial.phase == phase]


def _tiles(names: Sequence[str], spec: ExperimentSpec, trials: Sequence[Trial], phase: int) -> list[Tile]:
    by_name = {trial.name if trial.kind == "train" else names[0]: trial for trial in trials if trial.phase == phase}
    return [
        Tile(name, by_name[name].status, _share(by_name[name], spec)) if name in by_name else Tile(name, "planned", 0.0)
        for name in (names if phase < 3 else names[:1])
    ]


def _share(trial: Trial, spec: ExperimentSpec) -> float:
    if trial.status in ("succeeded", "collapsed", "pruned"):
        return 1.0
    if trial.kind == "finalize":
        return 0.5 if trial.status == "running" else 0.0
    return min(trial.epochs_done / epochs_of(trial, spec), 1.0)


def _state(experiment: Experiment, spec: ExperimentSpec, number: int) -> PhaseState:
    if number == 2 and not spec.strategies:
        return "skipped"
    if experiment.phase > number or (experiment.status == "succeeded"):
        return "done"
    if experiment.status in ENDED:
        return "not reached"
    return "active" if experiment.phase == number else "waiting"


def _winner_of_final_trial(trials: Sequence[Trial]) -> str:
    final = next((trial for trial in trials if trial.kind == "finalize"), None)
    return str(final.spec.get("winner", "the best")) if final else "the best"


def _best_so_far(session: Session, ids: Sequence[str]) -> dict[str, EpochRow]:
    chosen = select(EpochRow).where(EpochRow.trial_id.in_(ids), EpochRow.best).order_by(EpochRow.number)
    return {epoch.trial_id: epoch for epoch in session.scalars(chosen)} if ids else {}
