"""Reports of instances are numbered, and one that has left is known for a while, so that no late report undoes it."""

from typing import Final

from alembic import op

revision: Final = "0012"
down_revision: Final = "0011"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = (
    "ALTER TABLE instances ADD COLUMN IF NOT EXISTS sequence BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE instances ADD COLUMN IF NOT EXISTS gone BOOLEAN NOT NULL DEFAULT false",
)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
