"""Recorded looks, under a sequence of their own beside the rollout's row."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Row, bindparam, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from registry.blocks import in_blocks
from registry.database.columns import at, given
from registry.database.oldest import remove_oldest
from registry.database.session import Session
from registry.database.tables import analyses, rollout_looks, rollouts
from registry.repositories import Look, Page

_RECORD: Final = (
    update(rollout_looks)
    .where(given(rollout_looks.c.model, rollout_looks.c.rollout, rollout_looks.c.sequence))
    .returning(rollout_looks.c.sequence)
)
_ADD: Final = insert(analyses)
# As values: with literals a statement is kept compiled for each number of rollouts, and all of these with it.
_OF_ROLLOUTS: Final = tuple_(rollout_looks.c.model, rollout_looks.c.rollout).in_(bindparam("rollouts", expanding=True))
_SEQUENCES: Final = select(rollout_looks.c.model, rollout_looks.c.rollout, rollout_looks.c.sequence).where(_OF_ROLLOUTS)
_DROP_CURSORS: Final = update(rollout_looks).where(_OF_ROLLOUTS).values(cursor=b"")


class SqlLooks:
    """The tables rollout_looks and analyses."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def open(self, model: str, rollout: int) -> None:
        """Makes place for a rollout's looks."""
        self._session.execute(
            upsert(rollout_looks).values(model=model, rollout=rollout, sequence=0, cursor=b"").on_conflict_do_nothing()
        )

    def record(self, model: str, rollout: int, look: Look, now: float) -> bool:
        """Compares and sets the sequence, and writes the look; False: another look has taken its number."""
        seen = at(model=model, rollout=rollout, sequence=look.sequence - 1)
        written = {"sequence": look.sequence, "cursor": look.cursor}
        if self._session.execute(_RECORD, seen | written).one_or_none() is None:
            return False
        row = {
            "model": model,
            "rollout": rollout,
            "sequence": look.sequence,
            "recorded": now,
            "payload": look.payload,
        }
        self._session.execute(_ADD, row)
        return True

    def sequences(self, rollouts: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The numbers of the latest looks of rollouts, given as (model, number)."""
        rows = self._session.execute(_SEQUENCES, {"rollouts": list(rollouts)})
        return {(row.model, row.rollout): row.sequence for row in rows}

    def page(self, model: str, rollout: int, after: int, limit: int) -> Page[Look]:
        """Looks after a number, oldest first."""
        query = (
            select(analyses.c.sequence, analyses.c.payload, analyses.c.recorded)
            .where(analyses.c.model == model, analyses.c.rollout == rollout)
            .order_by(analyses.c.sequence)
        )

        def ask(last: Row[Any] | None, wanted: int) -> Sequence[Row[Any]]:
            follows = analyses.c.sequence > (after if last is None else last.sequence)
            return self._session.execute(query.where(follows).limit(wanted)).all()

        found = in_blocks(ask, lambda row: len(row.payload), limit)
        looks = [Look(row.sequence, bytes(row.payload), recorded=row.recorded) for row in found.rows]
        return Page(looks, found.cut_short)

    def latest(self, model: str, rollout: int) -> Look | None:
        """The latest look with its cursor; None: there is none."""
        query = (
            select(analyses.c.sequence, analyses.c.payload, analyses.c.recorded, rollout_looks.c.cursor)
            .select_from(
                rollout_looks.join(
                    analyses,
                    (analyses.c.model == rollout_looks.c.model)
                    & (analyses.c.rollout == rollout_looks.c.rollout)
                    & (analyses.c.sequence == rollout_looks.c.sequence),
                )
            )
            .where(rollout_looks.c.model == model, rollout_looks.c.rollout == rollout)
        )
        row = self._session.execute(query).one_or_none()
        return None if row is None else Look(row.sequence, bytes(row.payload), bytes(row.cursor), row.recorded)

    def purge(self, before: float, limit: int) -> int:
        """Forgets looks from before a moment, of rollouts that ended before it, and their cursors.

        Returns:
            How many looks, at most `limit`.
        """
        recorded = analyses.c.recorded
        whose = (analyses.c.model, analyses.c.rollout)
        oldest = (
            select(recorded, *whose)
            .join(rollouts, (rollouts.c.model == analyses.c.model) & (rollouts.c.number == analyses.c.rollout))
            .where(recorded < before, rollouts.c.ended < before)
            .order_by(recorded)
            .limit(limit)
        )
        found = self._session.execute(oldest).all()
        ended = sorted({(row.model, row.rollout) for row in found})
        if not ended:
            return 0
        times = [row.recorded for row in found]
        gone = remove_oldest(self._session, recorded, times, tuple_(*whose).in_(ended), whose)
        self._session.execute(_DROP_CURSORS, {"rollouts": ended})
        return len(gone)
