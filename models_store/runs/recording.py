"""How the end of a trial's process becomes rows, in one transaction."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.promotion import DEFAULT_POLICY, PromotionPolicy, beats
from models_store.runs import Claim, TrialResult
from models_store.store import registry
from models_store.tables import Experiment, Model, TestOpening, Trial
from workers.pipeline.data import TestSetAlreadyOpened
from workers.trial.protocol import Outcome
from workers.worker.supervisor import Exit


def record(
    session: Session,
    claim: Claim,
    ended: Exit,
    max_attempts: int,
    promotion_policy: PromotionPolicy = DEFAULT_POLICY,
) -> None:
    """Writes what `ended` says, or that the trial was cancelled if its experiment was while the process ended.

    Raises `LeaseLost` where the claim no longer holds; then nothing is written.
    """
    if runs.cancelled_meanwhile(session, claim):
        return
    match ended.reason:
        case "finished" if ended.outcome is not None:
            _record_outcome(session, claim, ended.outcome, max_attempts, promotion_policy)
        case "cancelled":
            runs.confirm_cancelled(session, claim)
        case "stopped" | "lost":  # a claim that no longer holds cannot be handed back: that raises
            runs.hand_back(session, claim)
        case "overdue":
            limit = ExperimentSpec.model_validate(session.get_one(Experiment, claim.experiment_id).spec).limits
            message = f"it ran longer than its limit of {limit.trial_minutes:g} minutes; raise limits.trial_minutes"
            error = {"kind": "TimeLimitExceeded", "message": message}
            runs.fail_trial(session, claim, error, retry=False, max_attempts=max_attempts)
        case "crashed":
            error = {"kind": "TrialCrashed", "message": ended.cause}
            runs.fail_trial(session, claim, error, retry=True, max_attempts=max_attempts)
        case _:
            raise ValueError(f"trial {claim.trial_id} finished without an outcome")


def _record_outcome(
    session: Session, claim: Claim, outcome: Outcome, max_attempts: int, promotion_policy: PromotionPolicy
) -> None:
    if outcome.status == "failed":
        error = {"kind": outcome.error_kind, "message": outcome.message}
        runs.fail_trial(session, claim, error, retry=outcome.retry, max_attempts=max_attempts)
    elif claim.kind == "train":
        runs.finish_trial(session, claim, TrialResult(status=outcome.status, **outcome.result))
    elif (opened := session.get(TestOpening, claim.experiment_id)) is not None:
        refused = TestSetAlreadyOpened(opened.experiment_id, opened.bundle_sha256, f"at {opened.opened_at.isoformat()}")
        error = {"kind": TestSetAlreadyOpened.__name__, "message": str(refused)}
        runs.fail_trial(session, claim, error, retry=False, max_attempts=max_attempts)
    else:
        _record_final(session, claim, outcome.result, promotion_policy)


def _record_final(session: Session, claim: Claim, result: dict[str, Any], promotion_policy: PromotionPolicy) -> None:
    """The opening of the test set, its figures, the model and the end of the experiment: all or none."""
    runs.finish_trial(
        session,
        claim,
        TrialResult(status="succeeded", metrics=result["evaluation"], environment=result["environment"]),
    )
    opening = result["opening"]
    session.add(
        TestOpening(
            experiment_id=claim.experiment_id,
            trial_id=claim.trial_id,
            opened_at=datetime.fromisoformat(opening["opened_at"]),
            **{key: opening[key] for key in ("dataset", "dataset_sha256", "bundle_sha256", "threshold", "images")},
        )
    )
    model = Model(
        experiment_id=claim.experiment_id,
        trial_id=claim.trial_id,
        created_at=now(session),
        calibration=result["calibration"],
        metrics=result["evaluation"],
        **result["model"],
    )
    session.add(model)
    session.flush()
    experiment = session.get_one(Experiment, claim.experiment_id)
    spec = ExperimentSpec.model_validate(experiment.spec)
    runs.finish_experiment(session, claim.experiment_id, _experiment_result(session, claim, result, model.version))
    _promote(session, spec, model, promotion_policy)


def _experiment_result(session: Session, claim: Claim, result: dict[str, Any], version: str) -> dict[str, Any]:
    failed = session.scalars(
        select(Trial)
        .where(Trial.experiment_id == claim.experiment_id, Trial.status.in_(("failed", "collapsed")))
        .order_by(Trial.phase, Trial.position)
    )
    return {
        "winner": result["model"]["winner"],
        "model_version": version,
        "threshold": result["model"]["threshold"],
        "guarantee": result["calibration"]["guarantee"],
        "validation": result["validation"],
        "test": result["evaluation"],
        "test_opening": result["opening"],
        "export": result["export"],
        "warnings": [
            *result["warnings"],
            *(f"{trial.name} {trial.status}: {(trial.error or {}).get('message', '')}" for trial in failed),
        ],
    }


def _promote(session: Session, spec: ExperimentSpec, model: Model, policy: PromotionPolicy) -> None:
    """Promotes only if the spec asks for it and, for `if_better`, the model beats the champion on the same data set.

    A champion of another data set is not comparable and stays.
    """
    if spec.promote == "never":
        return
    champion = registry.champion(session)
    if spec.promote == "if_better" and champion is not None:
        if champion.dataset_sha256 != model.dataset_sha256:
            return
        if not beats(policy, model.metrics, champion.metrics, spec.calibration.target_recall):
            return
        reason = f"beats {champion.version} by {policy} on {model.dataset}: {_recall_first(model.metrics)}"
    else:
        reason = f"asked for by the experiment: {_recall_first(model.metrics)}"
    registry.promote(session, model.version, actor=f"experiment {model.experiment_id}", reason=reason)


def _recall_first(metrics: dict[str, Any]) -> str:
    return f"test recall {metrics['recall']:.3f}, specificity {metrics['specificity']:.3f}"
