"""when an experiment or a model was deleted, by whom, and when its files were removed"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("experiments", "models")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("deleted_by", sa.String(length=255), nullable=True))
        op.add_column(table, sa.Column("files_removed_at", sa.DateTime(timezone=True), nullable=True))
        op.create_index(f"ix_{table}_deleted", table, ["deleted_at"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(f"ix_{table}_deleted", table)
        for name in ("files_removed_at", "deleted_by", "deleted_at"):
            op.drop_column(table, name)
