"""Whose turn it is to tell a webhook something, and which events it refuses."""

from typing import Final

from alembic import op

revision: Final = "0008"
down_revision: Final = "0007"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    """
    CREATE TABLE IF NOT EXISTS receivers (
        webhook TEXT NOT NULL,
        due TIMESTAMP WITH TIME ZONE NOT NULL,
        failures INTEGER NOT NULL,
        CONSTRAINT receivers_pk PRIMARY KEY (webhook)
    )
    """,
    "ALTER TABLE outbox ADD COLUMN IF NOT EXISTS refused INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX IF NOT EXISTS outbox_by_model ON outbox (webhook, model, sequence)",
    "CREATE INDEX IF NOT EXISTS outbox_aside ON outbox (webhook, due) WHERE refused >= 5",
)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
