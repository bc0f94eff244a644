"""indexes for lists by status and for claims"""

from collections.abc import Sequence

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_index("ix_experiments_status")
        batch_op.create_index("ix_experiments_status_created", ["status", "created_at", "id"], unique=False)

    with op.batch_alter_table("trials", schema=None) as batch_op:
        columns = ["status", "queue", "priority", "created_at", "position"]
        batch_op.create_index("ix_trials_waiting", columns, unique=False)


def downgrade() -> None:
    with op.batch_alter_table("trials", schema=None) as batch_op:
        batch_op.drop_index("ix_trials_waiting")

    with op.batch_alter_table("experiments", schema=None) as batch_op:
        batch_op.drop_index("ix_experiments_status_created")
        batch_op.create_index("ix_experiments_status", ["status"], unique=False)
