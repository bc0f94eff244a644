"""keeps the figures of a test set with the model alone, and drops a column that nothing reads"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EXPERIMENTS = sa.table("experiments", sa.column("id", sa.String), sa.column("result", sa.JSON(none_as_null=True)))
TRIALS = sa.table("trials", sa.column("id", sa.String), sa.column("metrics", sa.JSON(none_as_null=True)))
MODELS = sa.table(
    "models", sa.column("experiment_id", sa.String), sa.column("trial_id", sa.String), sa.column("metrics", sa.JSON)
)


def upgrade() -> None:
    _change_results(lambda result, _figures: {name: value for name, value in result.items() if name != "test"})
    of_models = TRIALS.c.id.in_(sa.select(MODELS.c.trial_id))
    op.get_bind().execute(TRIALS.update().where(of_models).values(metrics=None))
    op.drop_column("trials", "published_at")


def downgrade() -> None:
    op.add_column("trials", sa.Column("published_at", sa.DateTime(timezone=True), nullable=True))
    _change_results(lambda result, figures: {**result, "test": figures})
    for trial_id, figures in op.get_bind().execute(sa.select(MODELS.c.trial_id, MODELS.c.metrics)).all():
        op.get_bind().execute(TRIALS.update().where(TRIALS.c.id == trial_id).values(metrics=figures))


def _change_results(change: Callable[[dict[str, Any], Any], dict[str, Any]]) -> None:
    """Only for experiments that have a model."""
    connection = op.get_bind()
    chosen = sa.select(EXPERIMENTS.c.id, EXPERIMENTS.c.result, MODELS.c.metrics).join_from(
        EXPERIMENTS, MODELS, MODELS.c.experiment_id == EXPERIMENTS.c.id
    )
    for experiment_id, result, figures in connection.execute(chosen).all():
        if result is not None:
            changed = EXPERIMENTS.update().where(EXPERIMENTS.c.id == experiment_id)
            connection.execute(changed.values(result=change(result, figures)))
