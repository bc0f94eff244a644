"""The three phases as functions that read top to bottom. Knows no database, no queue and no store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, FROM_SCRATCH, TransferModel
from models_store.contract.figures import Evaluation
from models_store.contract.outcomes import Epoch, FinalModel
from models_store.contract.recipes import RECIPES
from models_store.contract.records import (
    About,
    CalibrationRecord,
    Parity,
    ProbabilityChoice,
    TestSetOpening,
    ThresholdDecision,
)
from models_store.contract.specs import ExperimentSpec, TrialSpec
from models_store.datasets.layout import Split, verify_layout
from models_store.experiment.selection import policy_for
from models_store.files import sha256_of
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from models_store.store import bundles
from models_store.store.signatures import Signer
from workers.pipeline.calibration import calibrate_probabilities, fit_distribution
from workers.pipeline.card import model_card
from workers.pipeline.data import ExperimentData, Opening, SealedTestSet, experiment_data, scaled, sizes
from workers.pipeline.evaluation.evaluation import evaluate, pictured
from workers.pipeline.export import PARITY_IMAGES, check_parity, export_onnx
from workers.pipeline.networks.building import build_model, load_model, load_weights_from
from workers.pipeline.networks.imagenet_weights import locate_base_weights
from workers.pipeline.threshold import choose_threshold
from workers.pipeline.training.epoch_metrics import binary_metrics
from workers.pipeline.training.training import Schedule, TrainingOutcome, train


@dataclass(frozen=True)
class Candidate:
    """The Phase-2 winner as Phase 3 gets it."""

    name: str
    trial: TrialSpec
    checkpoint: Path
    experiment_id: str


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

    `checkpoint` is the file of `trial.starts_from`. Raises `WeightsUnavailable` or `DatasetInvalid`.
    """
    data = experiment_data(dataset, spec.calibration, spec.seed)
    model = build_model(trial, data.image_size, base_weights=_base_weights(trial, spec, weights_root), seed=trial.seed)
    if checkpoint is not None:
        load_weights_from(model, checkpoint)
    schedule = Schedule(
        epochs=spec.epochs,
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

    Calibration and test are scored with the exported network, the very thing that will serve. `environment` names the
    machine, the versions and the commit on the model card, and `signer` signs the bundle. Raises `ExportNotFaithful`,
    `TooFewMalignantImages` or `TestSetAlreadyOpened`.
    """
    data = experiment_data(dataset, spec.calibration, spec.seed)
    model = load_model(candidate.checkpoint)
    model.save(folder / "model.keras")
    export_onnx(model, folder / "model.onnx")

    probabilities, decision = _calibrate(Scorer(folder / "model.onnx"), data, spec)
    parity = _parity(model, folder / "model.onnx", data, probabilities.calibration, decision.threshold)
    about = _about(candidate, spec, dataset, data)
    scorer = Scorer(folder / "model.onnx", probabilities.calibration)
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
    validation = {part: _scored(scorer, getattr(data, part)) for part in ("calibration", "selection")}
    bundles.write_json(folder / "validation.json", validation)
    frozen_sha256 = bundles.freeze(folder, about)

    opened_at = datetime.now(UTC)
    test = sealed.open(Opening(candidate.experiment_id, frozen_sha256, decision.threshold))
    train_lesions = None if data.train.lesion_ids is None else set(data.train.lesion_ids.tolist())
    evaluation = evaluate(scorer(test.images), test, decision, train_lesions=train_lesions, seed=spec.seed)

    bundles.write_json(folder / "metrics.json", evaluation)
    bundles.write_json(folder / "misses.json", pictured(evaluation.confident_misses, test.images))
    card = model_card(about, calibration, evaluation, environment or {})
    (folder / "card.md").write_text(card, encoding="utf-8")
    return FinalModel(
        manifest_sha256=bundles.complete(folder, signer),
        signed_by=None if signer is None else signer.key_id,
        about=about,
        calibration=calibration,
        validation={
            part: binary_metrics(scored["scores"], scored["malignant"], decision.threshold)
            for part, scored in validation.items()
        },
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
        warnings=_warnings(about, decision, evaluation, data.calibration_images_of_train_lesions),
    )


def _base_weights(trial: TrialSpec, spec: ExperimentSpec, weights_root: Path | None) -> Path | None:
    architecture = ARCHITECTURES[trial.architecture]
    if not isinstance(architecture, TransferModel) or spec.weights == "none":
        return None
    return locate_base_weights(architecture.base, weights_root)


def _calibrate(
    scorer: Scorer, data: ExperimentData, spec: ExperimentSpec
) -> tuple[ProbabilityChoice, ThresholdDecision]:
    split = data.calibration
    raw = scorer.raw(split.images)
    chosen = calibrate_probabilities(raw, split.malignant, lesion_ids=split.lesion_ids, seed=spec.seed)
    scores = chosen.calibration(raw)
    return chosen, choose_threshold(scores, split.malignant, spec.calibration, lesion_ids=split.lesion_ids)


def _parity(
    model: Any, onnx: Path, data: ExperimentData, calibration: ProbabilityCalibration, threshold: float
) -> Parity:
    """Compares the networks on calibration images first, then on train images where those are too few."""
    pool = np.concatenate([data.calibration.images[:PARITY_IMAGES], data.train.images[:PARITY_IMAGES]])
    return check_parity(model, onnx, scaled(pool[:PARITY_IMAGES]), calibration.inverse(threshold))


def _about(candidate: Candidate, spec: ExperimentSpec, dataset: Path, data: ExperimentData) -> About:
    asked = {name: getattr(spec, name) for name in ("dataset", "weights", "seed", "epochs", "patience")}
    return About(
        **asked,
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
    )


def _scored(scorer: Scorer, split: Split) -> dict[str, list[float]]:
    """What a reader needs to move the threshold without touching the test set."""
    return {"scores": scorer(split.images).tolist(), "malignant": split.malignant.tolist()}


def _warnings(
    about: About, decision: ThresholdDecision, evaluation: Evaluation, calibration_leaks: int | None
) -> tuple[str, ...]:
    """What must be said wherever a figure of this model is shown."""
    is_transfer = not isinstance(ARCHITECTURES[about.architecture], FROM_SCRATCH)
    said = {
        "trained and tested on synthetic images: no figure here says anything about lesions": about.synthetic,
        "the base started from random weights, not from ImageNet": is_transfer and about.weights == "none",
        f"the guarantee is void: {decision.void_reason}": decision.void,
        f"{calibration_leaks} calibration images show a lesion that was also trained on: the guarantee is for images "
        "like those, and optimistic for lesions never seen": calibration_leaks,
        f"{evaluation.leaking_images} test images show a lesion that was also trained on; see the leak-free figures": (
            evaluation.leaking_images
        ),
    }
    return tuple(sentence for sentence, applies in said.items() if applies)
