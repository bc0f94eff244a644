"""who signed the bundle of a model"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("models", sa.Column("signed_by", sa.String(length=16), nullable=True))


def downgrade() -> None:
    op.drop_column("models", "signed_by")
