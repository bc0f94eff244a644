"""What the database and the store hold of one experiment, read once for its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.contract.specs import ExperimentSpec
from models_store.runs import ExperimentNotFound
from models_store.store import bundles
from models_store.store.storage import Storage, StoredFileAltered, StoredFileMissing
from models_store.tables import EpochRow, Experiment, Model, TestOpening, Trial

# The order of models_store.experiment.selection, by which the list of trials is sorted.
RANKED_BY = {
    "val_recall": ("val_recall", "val_auc"),
    "val_f2": ("val_f2", "val_auc"),
    "specificity_at_recall": ("val_specificity_at_recall", "val_auc"),
    "val_recall_unguarded": ("val_recall",),
}


@dataclass(frozen=True)
class Study:
    """One experiment; `model` and `opening` are None until its test set was opened."""

    experiment: Experiment
    spec: ExperimentSpec
    trials: Sequence[Trial]
    final: Trial | None
    epochs: Mapping[str, Sequence[EpochRow]]
    model: Model | None
    opening: TestOpening | None
    other_openings: Sequence[TestOpening]

    @property
    def looks_before(self) -> int:
        """How often other experiments had opened the same test set before this one did."""
        if self.opening is None:
            return 0
        return sum(other.opened_at < self.opening.opened_at for other in self.other_openings)

    @property
    def ranked(self) -> list[Trial]:
        """Trials, best first by the policy of the study; those without figures last, in the order they ran."""
        keys = RANKED_BY[self.spec.selection.policy]
        with_figures = [trial for trial in self.trials if trial.status == "succeeded" and trial.metrics]
        best_first = sorted(with_figures, key=lambda trial: _rank(trial, keys), reverse=True)
        return best_first + [trial for trial in self.trials if trial not in with_figures]


@dataclass(frozen=True)
class Kept:
    """Sizes of the parts of the data, and the pictured misses; `missing` says why the store gives neither."""

    data: Mapping[str, Any] | None = None
    misses: Sequence[Mapping[str, Any]] = ()
    missing: str | None = None


def read_study(session: Session, experiment_id: str) -> Study:
    """Raises `ExperimentNotFound`."""
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}")
    chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    trials = session.scalars(chosen).all()
    opening = session.get(TestOpening, experiment_id)
    return Study(
        experiment=experiment,
        spec=ExperimentSpec.model_validate(experiment.spec),
        trials=[trial for trial in trials if trial.kind == "train"],
        final=next((trial for trial in trials if trial.kind == "finalize"), None),
        epochs=_epochs(session, [trial.id for trial in trials]),
        model=session.scalar(select(Model).where(Model.experiment_id == experiment_id)),
        opening=opening,
        other_openings=[] if opening is None else _other_openings(session, opening),
    )


def read_kept(storage: Storage, model: Model, cache_root: Path) -> Kept:
    """What the model's bundle keeps beside the database, verified byte by byte."""
    cache_root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="report-", dir=cache_root) as name:
        folder = Path(name)
        try:
            bundles.fetch_files(storage, model.store_key, model.manifest_sha256, folder, ("frozen.json", "misses.json"))
        except (bundles.BundleAltered, StoredFileMissing, StoredFileAltered) as missing:
            return Kept(missing=str(missing))
        about = bundles.read_json(folder / "frozen.json")["about"]
        return Kept(data=about.get("data"), misses=bundles.read_json(folder / "misses.json"))


def _epochs(session: Session, trial_ids: Sequence[str]) -> dict[str, list[EpochRow]]:
    by_trial: dict[str, list[EpochRow]] = {trial_id: [] for trial_id in trial_ids}
    for epoch in session.scalars(
        select(EpochRow).where(EpochRow.trial_id.in_(trial_ids)).order_by(EpochRow.trial_id, EpochRow.number)
    ):
        by_trial[epoch.trial_id].append(epoch)
    return by_trial


def _other_openings(session: Session, opening: TestOpening) -> Sequence[TestOpening]:
    return session.scalars(
        select(TestOpening)
        .where(TestOpening.dataset_sha256 == opening.dataset_sha256, TestOpening.experiment_id != opening.experiment_id)
        .order_by(TestOpening.opened_at)
    ).all()


def _rank(trial: Trial, keys: Sequence[str]) -> tuple[float, ...]:
    return tuple((trial.metrics or {}).get(key, 0.0) for key in keys)
