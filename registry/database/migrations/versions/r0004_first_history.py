"""The history of databases that were there before it begins with the states of that moment."""

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"
branch_labels: Final = None
depends_on: Final = None


def upgrade() -> None:
    """Notes each version's present state as that of event 0."""
    op.execute(
        "INSERT INTO state_history (model, segment, sequence, version, state, since, revision) "
        "SELECT model, segment, 0, version, state, since, 0 FROM lane_versions "
        "ON CONFLICT (model, segment, sequence, version) DO NOTHING"
    )
