"""The three phases as functions that read top to bottom. Knows no database, no queue and no store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store import wording
from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, FROM_SCRATCH, TransferModel
from models_store.contract.figures import Evaluation
from models_store.contract.outcomes import Epoch, FinalModel
from models_store.contract.recipes import RECIPES
from models_store.contract.records import (
    About,
    CalibrationRecord,
    Member,
    Parity,
    ProbabilityChoice,
    Scored,
    TestSetOpening,
    ThresholdDecision,
    Validation,
)
from models_store.contract.specs import ExperimentSpec, TrialSpec
from models_store.datasets.labels import CLASS_NAMES
from models_store.datasets.layout import Split, verify_layout
from models_store.datasets.patients import read_patients
from models_store.experiment.selection import policy_for
from models_store.files import sha256_of
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from models_store.store import bundles
from models_store.store.scored_test_set import ScoredTestSet
from models_store.store.signatures import Signer
from workers.pipeline.answer_time import time_answers
from workers.pipeline.calibration import calibrate_probabilities, fit_distribution
from workers.pipeline.card import model_card
from workers.pipeline.data import (
    ExperimentData,
    Opening,
    SealedTestSet,
    experiment_data,
    require_calibration,
    sizes,
)
from workers.pipeline.ensemble import Network, choose_members
from workers.pipeline.evaluation.evaluation import evaluate, pictured
from workers.pipeline.export import PARITY_IMAGES, check_parity, onnx_network, parity_warning
from workers.pipeline.networks.building import build_model, load_model, load_weights_from
from workers.pipeline.networks.imagenet_weights import locate_base_weights
from workers.pipeline.serving_graph import save, serving_graph
from workers.pipeline.standalone import metadata, write_standalone
from workers.pipeline.threshold import choose_threshold
from workers.pipeline.training.epoch_metrics import binary_metrics
from workers.pipeline.training.training import Schedule, TrainingOutcome, train


@dataclass(frozen=True)
class Candidate:
    """The Phase-2 winner as Phase 3 gets it, and the networks that an ensemble may add, best first."""

    name: str
    trial: TrialSpec
    checkpoint: Path
    experiment_id: str
    others: Sequence[Network] = ()


def train_trial(
    trial: TrialSpec,
    spec: ExperimentSpec,
    dataset: Path,
    folder: Path,
    on_epoch: Callable[[Epoch], None],
    *,
    weights_root: Path | None,
    checkpoint: Path | None = None,
) -> TrainingOutcome:
    """Trains one trial of Phase 1 or 2, continuing where `folder` holds a resume point.

    `checkpoint` is the file of `trial.starts_from`. Raises `WeightsUnavailable`, `DatasetInvalid` or
    `TooLittleEvidence`.
    """
    data = experiment_data(dataset, spec.calibration, spec.seed)
    require_calibration(data, spec.calibration)
    model = build_model(trial, data.image_size, base_weights=_base_weights(trial, spec, weights_root), seed=trial.seed)
    if checkpoint is not None:
        load_weights_from(model, checkpoint)
    schedule = Schedule(
        epochs=trial.most_epochs(spec.epochs),
        patience=spec.patience,
        batch_size=trial.batch_size,
        learning_rate=trial.learning_rate,
        class_weight=CLASS_WEIGHTS[trial.class_weight],
        seed=trial.seed,
        target_recall=spec.calibration.target_recall,
        recipe=RECIPES[trial.recipe],
    )
    return train(model, data, schedule, policy_for(spec.selection), folder, on_epoch)


def finalize(
    candidate: Candidate,
    spec: ExperimentSpec,
    dataset: Path,
    sealed: SealedTestSet,
    folder: Path,
    *,
    environment: Mapping[str, Any] | None = None,
    signer: Signer | None = None,
) -> FinalModel:
    """Phase 3: exports the winner, calibrates its threshold, freezes both, and only then opens the test set, once.

    Calibration and test are scored with the exported network, which is the one that serves. `environment` names the
    machine, the versions and the commit on the model card, and `signer` signs the bundle. Raises `ExportNotFaithful`,
    `TooFewMalignantImages` or `TestSetAlreadyOpened`.
    """
    data = experiment_data(dataset, spec.calibration, spec.seed)
    members = choose_members(_networks(candidate), data.selection, spec.final)
    models = [load_model(member.checkpoint) for member in members]
    for number, model in enumerate(models, start=1):
        model.save(folder / ("model.keras" if number == 1 else f"model-{number}.keras"))
    onnx_path, views = folder / "model.onnx", spec.final.views
    networks = [onnx_network(model) for model in models]

    save(serving_graph(networks, ProbabilityCalibration(), views=views), onnx_path)
    probabilities = _calibrated(Scorer(onnx_path), data, spec)
    graph = serving_graph(networks, probabilities.calibration, views=views)
    save(graph, onnx_path)
    scorer = Scorer(onnx_path)
    scored = {part: _scored(scorer, getattr(data, part)) for part in ("calibration", "selection")}
    decision = _decided(scored["calibration"], data, spec)
    parity = check_parity(
        models,
        onnx_path,
        _parity_images(data),
        decision.threshold,
        calibration=probabilities.calibration,
        views=views,
    )
    about = _about(candidate, members, spec, dataset, data)
    distribution, fit = fit_distribution(scorer, data, spec.seed)
    distribution.save(folder / bundles.DISTRIBUTION)
    calibration = CalibrationRecord(
        threshold=decision.threshold,
        guarantee=decision.guarantee,
        probability_calibration=probabilities.calibration,
        probabilities=probabilities,
        decision=decision,
        likeness=fit,
    )
    bundles.write_json(folder / "calibration.json", calibration)
    bundles.write_json(folder / "validation.json", Validation(**scored))
    save(graph, onnx_path, metadata(about, calibration, environment or {}, diagnoses=scorer.has_diagnoses))
    write_standalone(folder, about, calibration, scorer, signed=signer is not None)
    columns = _groups_of_test_images(dataset)  # a damaged file is refused before the test set is opened
    frozen_sha256 = bundles.freeze(folder, about)

    opened_at = datetime.now(UTC)
    test = sealed.open(Opening(candidate.experiment_id, frozen_sha256, decision.threshold))
    train_lesions = None if data.train.lesion_ids is None else set(data.train.lesion_ids.tolist())
    scores, _, diagnoses = scorer.judge(test.images)
    evaluation = evaluate(
        scores,
        test,
        decision,
        train_lesions=train_lesions,
        seed=spec.seed,
        probabilities=diagnoses,
        columns=columns,
    )

    kept = ScoredTestSet(np.array(CLASS_NAMES)[test.labels], test.malignant.astype(bool), scores)
    kept.write(folder / bundles.TEST_SCORES)
    bundles.write_json(folder / "metrics.json", evaluation)
    bundles.write_json(folder / "misses.json", pictured(evaluation.confident_misses, test.images))
    answer = time_answers(scorer)
    card = model_card(about, calibration, evaluation, answer, environment or {})
    (folder / "card.md").write_text(card, encoding="utf-8")
    return FinalModel(
        manifest_sha256=bundles.complete(folder, signer),
        signed_by=None if signer is None else signer.key_id,
        about=about,
        calibration=calibration,
        validation={part: binary_metrics(of.scores, of.malignant, decision.threshold) for part, of in scored.items()},
        opening=TestSetOpening(
            dataset=about.dataset,
            dataset_sha256=about.dataset_sha256,
            bundle_sha256=frozen_sha256,
            threshold=decision.threshold,
            images=len(test.images),
            opened_at=opened_at,
        ),
        evaluation=evaluation,
        export=parity,
        answer=answer,
        warnings=_warnings(about, decision, evaluation, parity, data.calibration_images_of_train_lesions),
    )


def _base_weights(trial: TrialSpec, spec: ExperimentSpec, weights_root: Path | None) -> Path | None:
    architecture = ARCHITECTURES[trial.architecture]
    if not isinstance(architecture, TransferModel) or spec.weights == "none":
        return None
    return locate_base_weights(architecture.base, weights_root)


def _networks(candidate: Candidate) -> list[Network]:
    return [Network(candidate.name, candidate.trial, candidate.checkpoint), *candidate.others]


def _calibrated(scorer: Scorer, data: ExperimentData, spec: ExperimentSpec) -> ProbabilityChoice:
    split = data.calibration
    raw = scorer(split.images)
    return calibrate_probabilities(raw, split.malignant, lesion_ids=split.lesion_ids, seed=spec.seed)


def _decided(scored: Scored, data: ExperimentData, spec: ExperimentSpec) -> ThresholdDecision:
    lesion_ids = data.calibration.lesion_ids
    return choose_threshold(scored.scores, scored.malignant, spec.calibration, lesion_ids=lesion_ids)


def _parity_images(data: ExperimentData) -> NDArray[np.uint8]:
    """Calibration images first, then train images where those are too few."""
    pool = np.concatenate([data.calibration.images[:PARITY_IMAGES], data.train.images[:PARITY_IMAGES]])
    return pool[:PARITY_IMAGES]


def _about(
    candidate: Candidate, members: Sequence[Network], spec: ExperimentSpec, dataset: Path, data: ExperimentData
) -> About:
    copied = {name: getattr(spec, name) for name in ("dataset", "weights", "seed", "epochs", "patience")}
    return About(
        **copied,
        selection=spec.selection,
        calibration=spec.calibration,
        experiment_id=candidate.experiment_id,
        winner=candidate.name,
        architecture=candidate.trial.architecture,
        trial=candidate.trial,
        dataset_sha256=sha256_of(dataset),
        synthetic=verify_layout(dataset).synthetic,
        image_size=data.image_size,
        data=sizes(data),
        views=spec.final.views,
        members=tuple(Member(name=member.name, trial=member.trial) for member in members),
    )


def _groups_of_test_images(dataset: Path) -> dict[str, NDArray[np.str_]] | None:
    """The group (N,) of every test image by each column of the patients file; None without one."""
    columns = read_patients(dataset, verify_layout(dataset).sizes)
    return None if columns is None else {name: column.named("test") for name, column in columns.items()}


def _scored(scorer: Scorer, split: Split) -> Scored:
    """Lesions get numbers, because their ids stay with the data set."""
    lesions = None if split.lesion_ids is None else np.unique(split.lesion_ids, return_inverse=True)[1].tolist()
    return Scored(scores=scorer(split.images).tolist(), malignant=split.malignant.tolist(), lesions=lesions)


def _warnings(
    about: About, decision: ThresholdDecision, evaluation: Evaluation, parity: Parity, calibration_leaks: int | None
) -> tuple[str, ...]:
    """The warnings to show wherever a figure of this model is shown."""
    is_transfer = not isinstance(ARCHITECTURES[about.architecture], FROM_SCRATCH)
    conditions = {
        "trained and tested on synthetic images: no figure here says anything about lesions": about.synthetic,
        "the base started from random weights, not from ImageNet": is_transfer and about.weights == "none",
        f"the guarantee is void: {decision.void_reason}": decision.void,
        f"{calibration_leaks} calibration images show a lesion that was also trained on: the guarantee does "
        "not speak for new lesions": calibration_leaks,
        wording.new_lesions(evaluation.model_dump(), about.dataset): evaluation.leaking_images,
    }
    difference = parity_warning(parity)
    return (*(sentence for sentence, applies in conditions.items() if applies), *([difference] if difference else []))
