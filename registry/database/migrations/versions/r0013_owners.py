"""An instance's reports are of the principal that reported it first, and of no other."""

from typing import Final

from alembic import op

revision: Final = "0013"
down_revision: Final = "0012"
branch_labels: Final = None
depends_on: Final = None

STATEMENTS: Final = ("ALTER TABLE instances ADD COLUMN IF NOT EXISTS owner TEXT NOT NULL DEFAULT ''",)


def upgrade() -> None:
    """Adds what is not there yet."""
    for statement in STATEMENTS:
        op.execute(statement)
