"""Events that webhooks have yet to be told of, and what was compacted of a model's ledger."""

from typing import Final

from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    """
    CREATE TABLE IF NOT EXISTS outbox (
        model TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        webhook TEXT NOT NULL,
        event BYTEA NOT NULL,
        created TIMESTAMP WITH TIME ZONE NOT NULL,
        attempts INTEGER NOT NULL,
        due TIMESTAMP WITH TIME ZONE NOT NULL,
        error TEXT NOT NULL,
        CONSTRAINT outbox_pk PRIMARY KEY (model, sequence, webhook)
    )
    """,
    "CREATE INDEX IF NOT EXISTS outbox_by_webhook ON outbox (webhook, created, model, sequence)",
    "CREATE INDEX IF NOT EXISTS outbox_by_time ON outbox (created)",
    "ALTER TABLE models ADD COLUMN IF NOT EXISTS compacted_sequence BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE models ADD COLUMN IF NOT EXISTS compacted_hash TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX IF NOT EXISTS analyses_by_time ON analyses (recorded)",
)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
