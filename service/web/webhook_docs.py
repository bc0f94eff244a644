"""The webhooks that the sweeper sends, as the OpenAPI document describes them."""

from typing import Annotated, Any

from fastapi import APIRouter, Header

from dermatriage_client.schemas import ExperimentEnded, PromiseInDoubt
from models_store.runs.deliveries import FIRST_RETRY_SECONDS, MAX_ATTEMPTS, SLOWEST_RETRY_SECONDS

router = APIRouter(tags=["webhooks"])
RETRY_DESCRIPTION = (
    f"Any other answer, or none within 10 seconds: the webhook is sent again after {FIRST_RETRY_SECONDS:g} seconds, "
    f"then after twice as long each time and at most {SLOWEST_RETRY_SECONDS / 3600:g} hour, until {MAX_ATTEMPTS} "
    "attempts have failed."
)


ANSWER: dict[str, Any] = {
    "status_code": 204,
    "response_description": "Received. Any status from 200 to 299 means that.",
    "responses": {"default": {"description": RETRY_DESCRIPTION}},
}
Id = Annotated[str, Header(description="The same in every attempt to deliver it.")]
Timestamp = Annotated[str, Header(description="Seconds since 1970 of this attempt.")]
Signature = Annotated[str, Header(description="`v1,` and an HMAC-SHA256 in base64.")]


@router.post("experiment.ended", **ANSWER)
def experiment_ended(
    body: ExperimentEnded, webhook_id: Id, webhook_timestamp: Timestamp, webhook_signature: Signature
) -> None:
    """Sent to the address in the setting `WEBHOOK_URL` when an experiment has succeeded, failed or been cancelled.

    It is signed as [Standard Webhooks](https://www.standardwebhooks.com) describes, with the setting `WEBHOOK_SECRET`;
    verify the signature before you use the content. It may arrive more than once.
    """


@router.post("promise.in_doubt", **ANSWER)
def promise_in_doubt(
    body: PromiseInDoubt, webhook_id: Id, webhook_timestamp: Timestamp, webhook_signature: Signature
) -> None:
    """Sent once for a model, when the verified outcomes put the recall that it promises in doubt.

    It goes to the same address and is signed in the same way.
    """
