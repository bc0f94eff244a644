"""A finished experiment as its rows and bundle hold it, its scores fabricated, its arithmetic real; nothing is trained.

Its figures mean nothing and never leave the tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from dermatriage_client import examples
from models_store.contract.catalog import ARCHITECTURES, FROM_SCRATCH
from models_store.contract.figures import Evaluation
from models_store.contract.records import About, AnswerTime, CalibrationRecord, ProbabilityChoice, ThresholdDecision
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, TrialSpec
from models_store.datasets.labels import CLASS_NAMES
from models_store.datasets.layout import Split
from models_store.experiment import phases
from models_store.scoring.out_of_distribution import FeatureDistribution
from models_store.store import bundles
from models_store.store.scored_test_set import ScoredTestSet
from models_store.store.storage import Storage
from models_store.tables import EpochRow, Experiment, Model, TestOpening, Trial
from workers.pipeline.calibration import calibrate_probabilities
from workers.pipeline.card import model_card
from workers.pipeline.data import ExperimentData, sizes
from workers.pipeline.evaluation.evaluation import evaluate, pictured
from workers.pipeline.threshold import choose_threshold
from workers.pipeline.threshold.operating_points import Floats

BEGAN = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SHARES = (0.033, 0.051, 0.11, 0.012, 0.111, 0.669, 0.014)
NO_NETWORK = b"fabricated"
# Of one feature between 0 and 1; no value of it is called unlike.
DISTRIBUTION = FeatureDistribution(np.full(1, 0.5), np.ones((1, 1)), np.ones(1), remainder=1.0, cut=1.0)
DATASET_SHA256 = "ab" * 32
COLLAPSE = "no epoch of 12 reached validation specificity 0.50; the best was 0.31 at epoch 4"
ENVIRONMENT = {
    "python": "3.11.9",
    "keras": "3.15.0",
    "backend": "tensorflow",
    "device": "2 cores",
    "host": "fabricated",
    "commit": "0123456789abcdef0123456789abcdef01234567",
}
# Fields of an evaluation that records of version 0.1 lack.
LATER = [name for name, field in Evaluation.model_fields.items() if not field.is_required()]

Json = dict[str, Any]


@dataclass(frozen=True)
class FinalRecord:
    """What Phase 3 leaves, as JSON."""

    about: Json
    calibration: Json
    evaluation: Json
    misses: list[Json]
    validation: Json
    tested: ScoredTestSet

    def card(self, environment: Mapping[str, Any] = ENVIRONMENT) -> str:
        return model_card(
            About.model_validate(self.about),
            CalibrationRecord.model_validate(self.calibration),
            Evaluation.model_validate(self.evaluation),
            AnswerTime(milliseconds=1.25, runs=31, machine="fabricated, 2 CPUs"),
            environment,
        )


def a_spec(**changes: Any) -> ExperimentSpec:
    asked = {
        "name": "fabricated",
        "dataset": "fabricated_28",
        "architectures": ["CNN_v1", "CNN_v2", "VGG_v3", "EffNet_v2"],
        "strategies": ["HighDropout", "LowLR"],
        "epochs": 12,
    }
    return ExperimentSpec.model_validate(asked | changes)


def a_final_record(
    spec: ExperimentSpec | None = None,
    *,
    architecture: str = "CNN_v1",
    lesions: bool = True,
    synthetic: bool = False,
    people: bool = False,
    images: int = 600,
    separation: float = 1.4,
) -> FinalRecord:
    spec = spec or a_spec()
    held, test, raw, chosen, decided, scores, evaluation = _phase_3(
        spec.calibration, lesions=lesions, people=people, images=images, separation=separation
    )
    overlap = 25 if lesions else None
    return FinalRecord(
        about={
            "experiment_id": "exp_fabricated",
            "winner": f"{architecture}/LowLR",
            "architecture": architecture,
            "trial": _trials(spec, architecture)[1][f"{architecture}/LowLR"].model_dump(mode="json"),
            "dataset": spec.dataset,
            "dataset_sha256": DATASET_SHA256,
            "synthetic": synthetic,
            "weights": spec.weights,
            "image_size": 8,
            "seed": spec.seed,
            "epochs": spec.epochs,
            "patience": spec.patience,
            "selection": spec.selection.model_dump(mode="json"),
            "calibration": spec.calibration.model_dump(mode="json"),
            "data": sizes(ExperimentData(test, held, held, 8, spec.calibration.reuse, overlap, overlap)).model_dump(),
        },
        calibration={
            "threshold": decided.threshold,
            "guarantee": decided.guarantee.model_dump(mode="json"),
            "probability_calibration": chosen.calibration.model_dump(mode="json"),
            "probabilities": chosen.model_dump(mode="json"),
            "decision": decided.model_dump(mode="json"),
            "likeness": {
                "method": "mahalanobis",
                "cut": 1.7,
                "usual_share": 0.99,
                "features": 224,
                "directions": 128,
                "training_images": 2000,
                "calibration_images": 500,
            },
        },
        evaluation=evaluation.model_dump(mode="json"),
        misses=[miss.model_dump() for miss in pictured(evaluation.confident_misses, test.images)],
        validation={
            part: {
                "scores": chosen.calibration(raw).tolist(),
                "malignant": held.malignant.tolist(),
                "lesions": np.unique(held.lesion_ids, return_inverse=True)[1].tolist() if lesions else None,
            }
            for part in ("calibration", "selection")
        },
        tested=ScoredTestSet(np.array(CLASS_NAMES)[test.labels], test.malignant.astype(bool), scores),
    )


@cache
def _phase_3(
    calibration: CalibrationSpec, *, lesions: bool, people: bool, images: int, separation: float
) -> tuple[Split, Split, Floats, ProbabilityChoice, ThresholdDecision, Floats, Evaluation]:
    """Held-out part, test set, raw scores of the first, what calibration and threshold became, and the test."""
    random = np.random.default_rng(7)
    held, test = _split(random, 500, lesions), _split(random, images, lesions)
    raw = _scores(random, held, separation)
    chosen = calibrate_probabilities(raw, held.malignant, lesion_ids=held.lesion_ids)
    decided = choose_threshold(chosen.calibration(raw), held.malignant, calibration, lesion_ids=held.lesion_ids)
    known = {f"lesion{i}" for i in range(60)} if lesions else None
    scores = chosen.calibration(_scores(random, test, separation))
    more = _of_people_and_diagnoses(random, test) if people else {}
    evaluation = evaluate(scores, test, decided, train_lesions=known, **more)
    return held, test, raw, chosen, decided, scores, evaluation


def store_finished(
    session: Session, storage: Storage, folder: Path, spec: ExperimentSpec, final: FinalRecord, onnx: bytes = NO_NETWORK
) -> str:
    """Rows of an experiment in which one trial collapsed and one failed, and its winner's bundle; returns its id."""
    experiment = store_experiment(session, spec, "succeeded", phase=3)
    architecture = final.about["architecture"]
    screening, tuning = _trials(spec, architecture)
    for position, (name, trial) in enumerate(screening.items()):
        store_trial(session, experiment, 1, position, name, trial, ("succeeded", "collapsed", "failed")[position % 3])
    for position, (name, trial) in enumerate(tuning.items()):
        store_trial(session, experiment, 2, position, name, trial, "succeeded")
    ended = store_trial(session, experiment, 3, 0, "final", None, "succeeded")
    folder.mkdir(parents=True, exist_ok=True)
    bundle_sha256 = _bundle(folder, final, onnx)
    manifest_sha256 = bundles.complete(folder)
    version = f"mdl_{experiment.id}"
    bundles.upload(folder, storage, f"models/{version}")
    named = {
        key: final.about[key] for key in ("dataset", "dataset_sha256", "synthetic", "weights", "winner", "architecture")
    }
    session.add(
        Model(
            version=version,
            experiment_id=experiment.id,
            trial_id=ended.id,
            store_key=f"models/{version}",
            bundle_sha256=bundle_sha256,
            manifest_sha256=manifest_sha256,
            threshold=final.calibration["threshold"],
            calibration=final.calibration,
            metrics=final.evaluation,
            created_at=BEGAN + timedelta(hours=2),
            **named,
        )
    )
    store_opening(session, experiment, ended, bundle_sha256, final)
    experiment.result = {
        "winner": final.about["winner"],
        "model_version": version,
        "threshold": final.calibration["threshold"],
        "guarantee": final.calibration["guarantee"],
        "export": {"max_abs_difference": 1.2e-7, "images": 256, "decisions_differ": 0},
        "promotion": {**examples.PROMOTION, "promoted": False, "reason": "does not beat <mdl_0> by f2"},
        "warnings": ["the guarantee counts lesions, not images"],
    }
    session.flush()
    return experiment.id


def store_experiment(session: Session, spec: ExperimentSpec, status: str, phase: int) -> Experiment:
    experiment = Experiment(
        name=spec.name,
        status=status,
        phase=phase,
        progress=1.0 if status == "succeeded" else 0.4,
        priority=spec.priority,
        spec=spec.model_dump(mode="json"),
        created_at=BEGAN,
        started_at=BEGAN + timedelta(seconds=2) if phase else None,
        finished_at=BEGAN + timedelta(hours=2) if status in ("succeeded", "failed", "cancelled") else None,
    )
    session.add(experiment)
    session.flush()
    return experiment


def store_trial(
    session: Session, experiment: Experiment, phase: int, position: int, name: str, spec: TrialSpec | None, status: str
) -> Trial:
    errors = {
        "collapsed": {"kind": "collapsed", "message": COLLAPSE},
        "failed": {"kind": "TrialCrashed", "message": "its process ended with signal 9"},
    }
    trial = Trial(
        experiment_id=experiment.id,
        phase=phase,
        position=position,
        name=name,
        kind="train" if spec else "finalize",
        queue="cpu",
        spec={} if spec is None else spec.model_dump(mode="json"),
        status=status,
        attempts=1,
        error=errors.get(status),
        environment=ENVIRONMENT if status in ("succeeded", "collapsed") else None,
        created_at=BEGAN,
        started_at=BEGAN + timedelta(minutes=10 * phase),
        finished_at=BEGAN + timedelta(minutes=10 * phase + 7) if status != "running" else None,
    )
    session.add(trial)
    session.flush()
    if spec is not None and status != "queued":
        _store_epochs(session, trial, seed=10 * phase + position)
    return trial


def store_opening(
    session: Session, experiment: Experiment, trial: Trial, bundle_sha256: str, final: FinalRecord
) -> None:
    session.add(
        TestOpening(
            experiment_id=experiment.id,
            trial_id=trial.id,
            dataset=final.about["dataset"],
            dataset_sha256=DATASET_SHA256,
            bundle_sha256=bundle_sha256,
            threshold=final.calibration["threshold"],
            images=final.evaluation["images"],
            opened_at=BEGAN + timedelta(hours=2),
        )
    )


def _store_epochs(session: Session, trial: Trial, seed: int) -> None:
    random = np.random.default_rng(seed)
    best = None
    for number in range(1, 13):
        learnt = 1 - np.exp(-number / 4)
        values = {
            "val_recall": 0.95 - 0.2 * learnt,
            "val_specificity": 0.3 + 0.45 * learnt,
            "val_auc": 0.6 + 0.25 * learnt,
            "val_loss": 0.9 - 0.4 * learnt,
            "val_precision": 0.25 + 0.2 * learnt,
            "val_f1": 0.4 + 0.2 * learnt,
            "val_f2": 0.5 + 0.2 * learnt,
            "val_pr_auc": 0.3 + 0.3 * learnt,
            "val_specificity_at_recall": 0.2 + 0.4 * learnt,
            "loss": 1.1 - 0.5 * learnt,
            "recall": 0.8,
            "specificity": 0.6,
            "precision": 0.4,
            "auc": 0.8,
        }
        metrics = {name: float(np.clip(value + random.normal(0, 0.02), 0, 1.2)) for name, value in values.items()}
        is_best = number in (3, 9) and trial.status == "succeeded"
        best = (number, metrics) if is_best else best
        session.add(
            EpochRow(
                trial_id=trial.id,
                number=number,
                metrics=metrics,
                seconds=4.2,
                eligible=trial.status == "succeeded",
                best=is_best,
                created_at=BEGAN,
            )
        )
    trial.epochs_done = 12
    if best is not None:
        trial.best_epoch, trial.metrics = best


def _bundle(folder: Path, final: FinalRecord, onnx: bytes) -> str:
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "model.keras").write_bytes(NO_NETWORK)
    bundles.write_json(folder / "validation.json", final.validation)
    DISTRIBUTION.save(folder / bundles.DISTRIBUTION)
    bundles.write_json(folder / "calibration.json", final.calibration)
    bundle_sha256 = bundles.freeze(folder, About.model_validate(final.about))
    bundles.write_json(folder / "metrics.json", final.evaluation)
    bundles.write_json(folder / "misses.json", final.misses)
    (folder / "card.md").write_text(final.card(), encoding="utf-8")
    final.tested.write(folder / bundles.TEST_SCORES)
    for name in bundles.STANDALONE_FILES:
        (folder / name).write_text("not of interest here")
    return bundle_sha256


def _trials(spec: ExperimentSpec, architecture: str) -> tuple[dict[str, TrialSpec], dict[str, TrialSpec]]:
    screening = phases.screening(spec)
    winner = screening[f"{architecture}/{spec.class_weights[0]}"]
    start = {"trial_id": "trl_start", "key": "trials/start/best.keras", "sha256": "0" * 64}
    is_custom = isinstance(ARCHITECTURES[architecture], FROM_SCRATCH)
    tuned = {
        f"{architecture}/{name}": winner.model_copy(update={"strategy": name}).model_dump()
        | {"starts_from": start if is_custom else None}
        for name in spec.strategies
    }
    return screening, {name: TrialSpec.model_validate(trial) for name, trial in tuned.items()}


def _split(random: np.random.Generator, images: int, lesions: bool) -> Split:
    labels = random.choice(len(CLASS_NAMES), images, p=SHARES).astype(np.int64)
    pixels = random.integers(60, 220, (images, 8, 8, 3), dtype=np.uint8)
    ids = np.array([f"lesion{i}" for i in random.integers(0, images, images)]) if lesions else None
    return Split(pixels, labels, ids)


def _of_people_and_diagnoses(random: np.random.Generator, test: Split) -> dict[str, Any]:
    """What `evaluate` needs for its tables by group and by diagnosis; few of the images show a young person."""
    images, classes = len(test.labels), len(CLASS_NAMES)
    logits = random.normal(size=(images, classes)) + 2 * np.eye(classes)[test.labels]
    return {
        "probabilities": np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        "columns": {
            "sex": random.choice(["female", "male"], images),
            "age_group": random.choice(["0|39", "40 to 69", "70 and over"], images, p=[0.05, 0.6, 0.35]),
        },
    }


def _scores(random: np.random.Generator, split: Split, separation: float) -> Floats:
    log_odds = random.normal(0, 1, len(split.labels)) + separation * (2 * split.malignant - 1) * 0.7
    scores: Floats = 1 / (1 + np.exp(-1.5 * log_odds))
    return scores
