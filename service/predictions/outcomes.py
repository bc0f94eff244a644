"""`/v1/predictions/{id}/outcome`: what the lesion of a prediction turned out to be."""

from fastapi import APIRouter, Response

from dermatriage_client.schemas import OutcomeHistory, OutcomeRead, Verification
from models_store.monitoring import outcomes
from models_store.monitoring.outcomes import Verified
from service.access.gate import Caller
from service.dependencies import Identifier, Reading, Writing
from service.web.api_docs import problems

router = APIRouter(prefix="/v1/predictions/{prediction_id}/outcome", tags=["predictions"])


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": OutcomeRead, "description": "It was recorded before."},
        **problems("prediction-not-found", "outcome-differs", "invalid-request"),
    },
)
def record_outcome(
    prediction_id: Identifier, body: Verification, session: Writing, caller: Caller, response: Response
) -> OutcomeRead:
    """Records whether the lesion is malignant, by whom and when that was verified. A repetition changes nothing.

    To correct an outcome, send its number as `replaces`; it is kept in the history. Live recall on the system page and
    its alert follow within seconds.
    """
    verified = Verified(body.outcome, body.verified_by, body.verified_at, body.note)
    if not outcomes.record(session, prediction_id, verified, replaces=body.replaces, actor=caller):
        response.status_code = 200
    return OutcomeRead.model_validate(outcomes.current(session, prediction_id))


@router.get("", responses=problems("prediction-not-found", "invalid-request"))
def list_outcomes(prediction_id: Identifier, session: Reading) -> OutcomeHistory:
    """The outcomes of a prediction, the current one first; empty before the first."""
    outcomes.find_prediction(session, prediction_id)
    rows = outcomes.history(session, prediction_id)
    return OutcomeHistory(items=[OutcomeRead.model_validate(row) for row in rows])
