"""Everything the database and the store hold about one experiment, read once for its report and its result page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.contract.figures import PicturedMiss
from models_store.contract.records import DataSizes
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.ranking import Ranking
from models_store.runs import find_experiment, trials_of
from models_store.store.bundles import StoredBundle
from models_store.store.storage import Storage
from models_store.tables import EpochRow, Experiment, Model, TestOpening, Trial
from service.models.stored import ALTERED


@dataclass(frozen=True)
class ExperimentRecord:
    """One experiment with its trials; `model` and `opening` are None until its test set was opened."""

    experiment: Experiment
    spec: ExperimentSpec
    trials: Sequence[Trial]
    final: Trial | None
    epochs: Mapping[str, Sequence[EpochRow]]
    model: Model | None
    opening: TestOpening | None
    other_openings: Sequence[TestOpening]

    @property
    def earlier_openings(self) -> int:
        """How many other experiments had opened the same test set before this one."""
        if self.opening is None:
            return 0
        return sum(other.opened_at < self.opening.opened_at for other in self.other_openings)

    @property
    def ranking(self) -> Ranking:
        return Ranking.of(self.spec)

    @property
    def ranked_trials(self) -> list[Trial]:
        return ranked(self.spec, self.trials)


@dataclass(frozen=True)
class BundleContents:
    """Image counts of each split and the images of misses; `missing` is the reason when the store has neither."""

    data: DataSizes | None = None
    misses: Sequence[PicturedMiss] = ()
    missing: str | None = None


def read_record(session: Session, experiment_id: str) -> ExperimentRecord:
    """Raises `ExperimentNotFound`."""
    experiment = find_experiment(session, experiment_id)
    trials = trials_of(session, experiment_id)
    opening = session.get(TestOpening, experiment_id)
    return ExperimentRecord(
        experiment=experiment,
        spec=ExperimentSpec.model_validate(experiment.spec),
        trials=[trial for trial in trials if trial.kind == "train"],
        final=next((trial for trial in trials if trial.kind == "finalize"), None),
        epochs=_epochs(session, [trial.id for trial in trials]),
        model=session.scalar(select(Model).where(Model.experiment_id == experiment_id)),
        opening=opening,
        other_openings=[] if opening is None else _other_openings(session, opening),
    )


def ranked(spec: ExperimentSpec, trials: Sequence[Trial]) -> list[Trial]:
    """Eligible trials first, the best at the top by the experiment's selection rule; the others in their order."""
    first = Ranking.of(spec).order(trials)
    others = [trial for trial in trials if trial not in first]
    return first + sorted(others, key=lambda trial: trial.status != "succeeded")


def read_bundle_contents(storage: Storage, model: Model, cache_root: Path) -> BundleContents:
    """The files of the model's bundle that the pages show, each checked against its hash."""
    cache_root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="report-", dir=cache_root) as name:
        try:
            bundle = StoredBundle(storage, model.store_key, model.manifest_sha256, Path(name))
            return BundleContents(data=bundle.about.data, misses=bundle.misses)
        except ALTERED as missing:
            return BundleContents(missing=str(missing))


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
