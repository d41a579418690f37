"""Indexes by what is asked: the past by its moment; and nobody looks for instances by when they expire."""

from typing import Final

from alembic import op

revision: Final = "0006"
down_revision: Final = "0005"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    "DROP INDEX IF EXISTS instances_by_expiry",
    "CREATE INDEX IF NOT EXISTS lane_versions_by_since ON lane_versions (model, segment, since)",
    "CREATE INDEX IF NOT EXISTS state_history_by_noted ON state_history (model, segment, noted, sequence)",
    "CREATE INDEX IF NOT EXISTS state_history_by_revision ON state_history (model, segment, revision, sequence)",
    "CREATE INDEX IF NOT EXISTS state_history_by_state_noted ON state_history (model, segment, state, noted, sequence)",
    """
    CREATE INDEX IF NOT EXISTS state_history_by_state_revision
    ON state_history (model, segment, state, revision, sequence)
    """,
    "DROP INDEX IF EXISTS state_history_by_state",
)


def upgrade() -> None:
    """Adds what is not there yet, and takes away what is there still."""
    for statement in STATEMENTS:
        op.execute(statement)
