"""lesions that the splits of a data set share, its patients file, and the data set it was made from"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("shared_lesions", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("datasets", sa.Column("patients_store_key", sa.String(length=512), nullable=True))
    op.add_column("datasets", sa.Column("made_from", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    for name in ("made_from", "patients_store_key", "shared_lesions"):
        op.drop_column("datasets", name)
