"""What a trial printed: the end of it, kept where everyone can read it, since its folder lies on one worker alone."""

from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.journal import lock
from models_store.runs.records import Claim, LeaseLost
from models_store.tables import Trial, TrialLog


def keep_log(session: Session, claim: Claim, text: str, *, is_whole: bool) -> None:
    """Keeps `text` in place of what was kept before. Raises `LeaseLost` if the claim no longer holds."""
    lock(session, claim.experiment_id)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    if trial.fence != claim.fence:
        raise LeaseLost(f"the claim {claim.fence} on trial {claim.trial_id} no longer holds; its log is dropped")
    session.merge(
        TrialLog(
            trial_id=claim.trial_id,
            attempt=claim.attempt,
            text=text.replace("\0", "\N{REPLACEMENT CHARACTER}"),  # which PostgreSQL does not store
            is_whole=is_whole,
            written_at=now(session),
        )
    )
