"""The webhooks that the sweeper sends, as the OpenAPI document describes them to those who receive them."""

from typing import Annotated

from fastapi import APIRouter, Header

from dermatriage_client.schemas import ExperimentEnded
from models_store.runs.deliveries import FIRST_RETRY_SECONDS, MOST_ATTEMPTS, SLOWEST_RETRY_SECONDS

router = APIRouter(tags=["webhooks"])
AGAIN = (
    f"Any other answer, or none within 10 seconds: the webhook is sent again after {FIRST_RETRY_SECONDS:g} seconds, "
    f"then after twice as long each time and at most {SLOWEST_RETRY_SECONDS / 3600:g} hour, until {MOST_ATTEMPTS} "
    "attempts have failed."
)


@router.post(
    "experiment.ended",
    status_code=204,
    response_description="Received. Any status from 200 to 299 says so.",
    responses={"default": {"description": AGAIN}},
)
def experiment_ended(
    body: ExperimentEnded,
    webhook_id: Annotated[str, Header(description="The same in every attempt to deliver it.")],
    webhook_timestamp: Annotated[str, Header(description="Seconds since 1970 of this attempt.")],
    webhook_signature: Annotated[str, Header(description="`v1,` and an HMAC-SHA256 in base64.")],
) -> None:
    """Sent to the address in the setting `WEBHOOK_URL` when an experiment has succeeded, failed or been cancelled.

    It is signed as [Standard Webhooks](https://www.standardwebhooks.com) describes, with the setting `WEBHOOK_SECRET`;
    verify it before you believe it. It may arrive more than once.
    """
