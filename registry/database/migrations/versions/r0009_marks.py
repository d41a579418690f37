"""Revisions of the routes have marks, which tell them from others of the same numbers."""

from typing import Final

from alembic import op

revision: Final = "0009"
down_revision: Final = "0008"
branch_labels: Final = None
depends_on: Final = None

# What is there already, and what a Registry of the release before goes on writing, has none: it is not compared.
STATEMENT: Final = "ALTER TABLE route_changes ADD COLUMN IF NOT EXISTS mark TEXT NOT NULL DEFAULT ''"


def upgrade() -> None:
    """Adds what is not there yet."""
    op.execute(STATEMENT)
