"""limits the numbers in stored specs to the present bounds of a submission"""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MOST = {
    ("limits", "experiment_minutes"): 90.0 * 24 * 60,
    ("calibration", "beta"): 100.0,
    ("calibration", "false_negative_cost"): 1e6,
}


def upgrade() -> None:
    connection = op.get_bind()
    experiments = sa.table("experiments", sa.column("id", sa.String), sa.column("spec", sa.JSON))
    for experiment_id, spec in connection.execute(sa.select(experiments.c.id, experiments.c.spec)).all():
        bounded = _bounded(spec)
        if json.dumps(bounded) != json.dumps(spec):
            connection.execute(experiments.update().where(experiments.c.id == experiment_id).values(spec=bounded))


def downgrade() -> None:
    """A smaller number is valid in every version."""


def _bounded(spec: dict[str, Any]) -> dict[str, Any]:
    bounded = dict(spec)
    for (part, name), most in MOST.items():
        value = bounded.get(part, {}).get(name)
        if value is not None and value > most:
            bounded[part] = bounded[part] | {name: most}
    return bounded
