"""Indexes by what few rows of a list have: events by their type, rollouts by their lane."""

from typing import Final

from alembic import op

revision: Final = "0010"
down_revision: Final = "0009"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    # The type first, so that it serves the events of all models as well.
    "CREATE INDEX IF NOT EXISTS events_by_type ON events (type, model, segment, sequence)",
    "CREATE INDEX IF NOT EXISTS rollouts_by_segment ON rollouts (model, segment, number)",
)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
