"""an index for the list of predictions, newest first"""

from collections.abc import Sequence

from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_predictions_created", "predictions", ["created_at", "id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_predictions_created", "predictions")
