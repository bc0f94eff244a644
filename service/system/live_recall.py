"""The live recall of each model with outcomes, as the sweeper last counted it."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.tables import LiveRecallRow, RecallAlert
from service.system.schemas import LiveRecallRead


def live_recalls(session: Session) -> list[LiveRecallRead]:
    """The most recently counted model first."""
    raised = {alert.model_version: alert.created_at for alert in session.scalars(select(RecallAlert))}
    return [
        LiveRecallRead(
            **row.figures,
            version=row.model_version,
            counted_at=row.counted_at,
            in_doubt_since=raised.get(row.model_version),
        )
        for row in session.scalars(select(LiveRecallRow).order_by(LiveRecallRow.counted_at.desc()))
    ]
