"""What Phase 3 leaves, made up in milliseconds from the contract alone: no figure in it was ever measured."""

from datetime import UTC, datetime
from typing import Any

from models_store.contract.figures import Confusion, Evaluation, Figures, Interval
from models_store.contract.outcomes import FinalModel
from models_store.contract.records import (
    About,
    Calibratedness,
    CalibrationRecord,
    DataSizes,
    Guarantee,
    Parity,
    PartSize,
    ProbabilityChoice,
    TestSetOpening,
    ThresholdDecision,
)
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec, TrialSpec
from models_store.experiment.phases import first_phase
from models_store.scoring.probability_calibration import ProbabilityCalibration

SHA256 = "0" * 64
TEST = {"recall": 0.91, "specificity": 0.7, "precision": 0.42, "f1": 0.58, "f2": 0.74}
OPENED = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def an_about(**changes: Any) -> About:
    """What a bundle says of its model, with the given fields in place of made-up ones."""
    part = PartSize(images=1, malignant=1, lesions=None)
    made_up: dict[str, Any] = {
        "experiment_id": "exp_made_up",
        "winner": "CNN_v1/W3",
        "architecture": "CNN_v1",
        "trial": TrialSpec.model_validate(first_phase(ExperimentSpec(dataset="made_up")).trials[0].spec),
        "dataset": "made_up",
        "dataset_sha256": SHA256,
        "synthetic": False,
        "weights": "imagenet",
        "image_size": 28,
        "seed": 42,
        "epochs": 12,
        "patience": 10,
        "selection": SelectionSpec(),
        "calibration": CalibrationSpec(),
        "data": DataSizes(
            train=part,
            selection=part,
            calibration=part,
            selection_images_of_train_lesions=None,
            calibration_images_of_train_lesions=None,
        ),
    }
    return About.model_validate(made_up | changes)


def a_final_model(
    *, test: dict[str, float] | None = None, bundle_sha256: str = SHA256, threshold: float = 0.3, **about: Any
) -> FinalModel:
    """A finished model with the given test figures, frozen bundle and threshold; `about` as in `an_about`."""
    known = an_about(**about)
    figures = some_figures(TEST | (test or {}), threshold)
    return FinalModel(
        manifest_sha256=SHA256,
        signed_by=None,
        about=known,
        calibration=a_calibration(threshold),
        validation={"calibration": {"recall": 0.9}},
        opening=TestSetOpening(
            dataset=known.dataset,
            dataset_sha256=known.dataset_sha256,
            bundle_sha256=bundle_sha256,
            threshold=threshold,
            images=10,
            opened_at=OPENED,
        ),
        evaluation=Evaluation(
            **dict(figures),
            malignant_images=2,
            lesions=None,
            leaking_images=None,
            leak_free=None,
            at_half=figures,
            diagnoses=(),
            ece=0.1,
            brier=0.1,
            reliability=(),
            curve=(),
            confident_misses=(),
        ),
        export=Parity(max_abs_difference=0.0, images=1, decisions_differ=0),
        warnings=(),
    )


def some_figures(rates: dict[str, float], threshold: float) -> Figures:
    areas = dict.fromkeys(("roc_auc", "pr_auc", "partial_auc", "ppv", "npv"), 0.5) | rates
    return Figures(
        **areas,
        confusion=Confusion(tn=6, fp=2, fn=0, tp=2),
        prevalence=0.05,
        threshold=threshold,
        images=10,
        intervals={name: Interval(low=0.0, high=1.0) for name in areas},
    )


def a_calibration(threshold: float, *, holds: bool = False) -> CalibrationRecord:
    identity, fit = ProbabilityCalibration(), Calibratedness(ece=0.1, brier=0.1, log_loss=0.3)
    promised: dict[str, Any] = {"positives": 2, "allowed_misses": 0, "seen_misses": 0}
    guarantee = Guarantee(
        holds=holds, kind="confidence", target_recall=0.9, confidence=0.95, sentence="Nothing is promised.", **promised
    )
    return CalibrationRecord(
        threshold=threshold,
        guarantee=guarantee,
        probability_calibration=identity,
        probabilities=ProbabilityChoice(
            calibration=identity, cross_validated_log_loss={"identity": 0.3}, before=fit, after=fit
        ),
        decision=ThresholdDecision(
            threshold=threshold,
            policy="np_sensitivity",
            asked_policy="np_sensitivity",
            target_recall=0.9,
            confidence=0.95,
            malignant_images=2,
            benign_images=8,
            malignant_lesions=None,
            best_score=None,
            margin=0.01,
            recall=1.0,
            specificity=0.5,
            precision=0.5,
            void=False,
            void_reason=None,
            guarantee=guarantee,
            scores_sha256=SHA256,
            **promised,
        ),
    )
