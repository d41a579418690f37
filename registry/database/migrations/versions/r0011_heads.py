"""What a webhook is told next of each model, without those events that it has refused too often."""

from typing import Final

from alembic import op

revision: Final = "0011"
down_revision: Final = "0010"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    "CREATE INDEX IF NOT EXISTS outbox_heads ON outbox (webhook, model, sequence) WHERE refused < 5",
    "DROP INDEX IF EXISTS outbox_by_model",
)


def upgrade() -> None:
    """Adds what is not there yet, and takes away what is there still."""
    for statement in STATEMENTS:
        op.execute(statement)
