"""drops the priority of trials, because claims use that of experiments, and adds an index for claims"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

OF_THE_EXPERIMENT = "(SELECT priority FROM experiments WHERE experiments.id = trials.experiment_id)"


def upgrade() -> None:
    op.drop_index("ix_trials_waiting", "trials")
    op.drop_column("trials", "priority")
    op.create_index("ix_trials_waiting", "trials", ["status", "queue", "experiment_id"])


def downgrade() -> None:
    op.drop_index("ix_trials_waiting", "trials")
    op.add_column("trials", sa.Column("priority", sa.Integer(), nullable=True))
    op.execute(f"UPDATE trials SET priority = {OF_THE_EXPERIMENT}")
    with op.batch_alter_table("trials") as batch:
        batch.alter_column("priority", existing_type=sa.Integer(), nullable=False)
    op.create_index("ix_trials_waiting", "trials", ["status", "queue", "priority", "created_at", "position"])
