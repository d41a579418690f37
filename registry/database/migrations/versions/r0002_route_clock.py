"""The one row of the route clock."""

from typing import Final

from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    """Starts the clock at 0."""
    op.execute("INSERT INTO route_clock (id, revision, compacted) VALUES (1, 0, 0) ON CONFLICT (id) DO NOTHING")
