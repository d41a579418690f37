"""The history of databases that were there before it begins with the states of that moment."""

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"
branch_labels: Final = None
depends_on: Final = None


STATEMENT: Final = (
    "INSERT INTO state_history (model, segment, sequence, version, state, since, revision, noted) "
    "SELECT model, segment, 0, version, state, since, (SELECT revision FROM route_clock WHERE id = 1), now() "
    "FROM lane_versions ON CONFLICT (model, segment, sequence, version) DO NOTHING"
)


def upgrade() -> None:
    """Notes each version's present state as that of event 0."""
    op.execute(STATEMENT)
