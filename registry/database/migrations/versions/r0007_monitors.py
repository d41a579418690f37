"""What watches lanes without a rollout."""

from typing import Final

from alembic import op

revision: Final = "0007"
down_revision: Final = "0006"
branch_labels: Final = None
depends_on: Final = None

STATEMENT: Final = """
    CREATE TABLE IF NOT EXISTS monitors (
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        off BOOLEAN NOT NULL,
        undo BOOLEAN NOT NULL,
        learn DOUBLE PRECISION NOT NULL,
        version TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        recorded TIMESTAMP WITH TIME ZONE,
        summary BYTEA NOT NULL,
        alerts BYTEA NOT NULL,
        evidence BYTEA NOT NULL,
        cursor BYTEA NOT NULL,
        CONSTRAINT monitors_pk PRIMARY KEY (model, segment)
    )
    """


def upgrade() -> None:
    """Adds what is not there yet."""
    op.execute(STATEMENT)
