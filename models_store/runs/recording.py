"""How the end of an attempt becomes rows, in one transaction."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.contract.outcomes import Exit, Failed, Finalized, Outcome
from models_store.contract.records import TestSetAlreadyOpened
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.promotion import DEFAULT_POLICY, Contender, Promotion, PromotionPolicy, decide
from models_store.runs.experiments import finish_experiment
from models_store.runs.journal import Claim
from models_store.runs.trials import confirm_cancelled, end_if_experiment_cancelled, fail_trial, finish_trial, release
from models_store.store import registry
from models_store.tables import Experiment, Model, TestOpening, Trial


def record(
    session: Session,
    claim: Claim,
    ended: Exit,
    max_attempts: int,
    promotion_policy: PromotionPolicy = DEFAULT_POLICY,
) -> None:
    """Writes what `ended` reports, or that the trial was cancelled if its experiment was while the process ended.

    Raises `LeaseLost` where the claim no longer holds; then nothing is written.
    """
    if end_if_experiment_cancelled(session, claim):
        return
    match ended.reason:
        case "finished" if ended.outcome is not None:
            _record_outcome(session, claim, ended.outcome, max_attempts, promotion_policy)
        case "cancelled":
            confirm_cancelled(session, claim)
        case "stopped" | "lost":  # a claim that no longer holds cannot be released: that raises
            release(session, claim)
        case "overdue":
            minutes = _spec(session, claim).limits.trial_minutes
            message = f"it ran longer than its limit of {minutes:g} minutes; raise limits.trial_minutes"
            _fail(session, claim, "TimeLimitExceeded", message)
        case "crashed":
            error = {"kind": "TrialCrashed", "message": ended.cause}
            fail_trial(session, claim, error, retry=True, max_attempts=max_attempts)
        case _:
            raise ValueError(f"trial {claim.trial_id} finished without an outcome")


def _record_outcome(
    session: Session, claim: Claim, outcome: Outcome, max_attempts: int, promotion_policy: PromotionPolicy
) -> None:
    if isinstance(outcome, Failed):
        error = {"kind": outcome.error_kind, "message": outcome.message}
        fail_trial(session, claim, error, retry=outcome.retry, max_attempts=max_attempts)
    elif not isinstance(outcome, Finalized):
        finish_trial(session, claim, outcome)
    elif (opened := session.get(TestOpening, claim.experiment_id)) is not None:
        refused = TestSetAlreadyOpened(opened.experiment_id, opened.bundle_sha256, f"at {opened.opened_at.isoformat()}")
        _fail(session, claim, TestSetAlreadyOpened.__name__, str(refused))
    else:
        _record_final(session, claim, outcome, promotion_policy)


def _fail(session: Session, claim: Claim, kind: str, message: str) -> None:
    fail_trial(session, claim, {"kind": kind, "message": message}, retry=False, max_attempts=0)


def _record_final(session: Session, claim: Claim, final: Finalized, promotion_policy: PromotionPolicy) -> None:
    """The opening of the test set, its figures, the model and the end of the experiment: all or none."""
    finish_trial(session, claim, final)
    made_by = {"experiment_id": claim.experiment_id, "trial_id": claim.trial_id}
    session.add(TestOpening(**made_by, **final.model.opening.model_dump()))
    model = _model(final, created_at=now(session), **made_by)
    session.add(model)
    session.flush()
    promotion = _promotion(session, _spec(session, claim), model, promotion_policy)
    finish_experiment(session, claim.experiment_id, _experiment_result(session, claim, final, promotion))
    if promotion is not None and promotion.promoted:
        registry.promote(session, model.version, actor=f"experiment {model.experiment_id}", reason=promotion.reason)


def _model(final: Finalized, **columns: Any) -> Model:
    about, model = final.model.about, final.model
    return Model(
        **columns,
        version=final.version,
        winner=about.winner,
        architecture=about.architecture,
        dataset=about.dataset,
        dataset_sha256=about.dataset_sha256,
        synthetic=about.synthetic,
        weights=about.weights,
        store_key=final.store_key,
        bundle_sha256=model.opening.bundle_sha256,
        manifest_sha256=model.manifest_sha256,
        signed_by=model.signed_by,
        threshold=model.opening.threshold,
        calibration=model.calibration.model_dump(mode="json"),
        metrics=model.evaluation.model_dump(mode="json"),
    )


def _experiment_result(session: Session, claim: Claim, final: Finalized, promotion: Promotion | None) -> dict[str, Any]:
    """The result as it is stored; the test figures are the model's."""
    unsuccessful = session.scalars(
        select(Trial)
        .where(Trial.experiment_id == claim.experiment_id, Trial.status.in_(("failed", "collapsed")))
        .order_by(Trial.phase, Trial.position)
    )
    model = final.model.model_dump(mode="json")
    return {
        "winner": final.model.about.winner,
        "members": [member.name for member in final.model.about.members],
        "model_version": final.version,
        "threshold": final.model.opening.threshold,
        "guarantee": model["calibration"]["guarantee"],
        "validation": model["validation"],
        "test_opening": model["opening"],
        "export": model["export"],
        "answer": model["answer"],
        "promotion": None if promotion is None else asdict(promotion),
        "warnings": [
            *final.model.warnings,
            *(f"{trial.name} {trial.status}: {(trial.error or {}).get('message', '')}" for trial in unsuccessful),
        ],
    }


def _promotion(session: Session, spec: ExperimentSpec, model: Model, policy: PromotionPolicy) -> Promotion | None:
    champion = registry.champion(session)
    current = None if champion is None else _contender(champion)
    return decide(spec.promote, policy, _contender(model), current, spec.calibration.target_recall)


def _contender(model: Model) -> Contender:
    return Contender(model.version, model.dataset_sha256, model.metrics)


def _spec(session: Session, claim: Claim) -> ExperimentSpec:
    return ExperimentSpec.model_validate(session.get_one(Experiment, claim.experiment_id).spec)
