"""the name of the API key that submitted an experiment"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("submitted_by", sa.String(length=255), nullable=True))


def downgrade() -> None:
    op.drop_column("experiments", "submitted_by")
