"""Approvals, lanes that were taken away, and what every version's state was at any time."""

from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"
branch_labels: Final = None
depends_on: Final = None

# Every column has a default, so that a Registry of the release before can go on writing beside this one.
STATEMENTS: Final = (
    "ALTER TABLE lanes ADD COLUMN IF NOT EXISTS removed BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE rollouts ADD COLUMN IF NOT EXISTS approval_required BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE rollouts ADD COLUMN IF NOT EXISTS approver TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE rollouts ADD COLUMN IF NOT EXISTS approved TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE rollouts ADD COLUMN IF NOT EXISTS approval_reason TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX IF NOT EXISTS rollouts_by_version ON rollouts (model, version, number)",
    "CREATE INDEX IF NOT EXISTS events_by_version ON events (model, version, sequence)",
    """
    CREATE TABLE IF NOT EXISTS state_history (
        model TEXT NOT NULL,
        segment TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        version TEXT NOT NULL,
        state TEXT NOT NULL,
        since TIMESTAMP WITH TIME ZONE NOT NULL,
        revision BIGINT NOT NULL,
        noted TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT state_history_pk PRIMARY KEY (model, segment, sequence, version)
    )
    """,
    "CREATE INDEX IF NOT EXISTS state_history_by_version ON state_history (model, segment, version, sequence)",
    "CREATE INDEX IF NOT EXISTS state_history_by_state ON state_history (model, segment, state, sequence)",
)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
