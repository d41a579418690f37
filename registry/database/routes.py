"""The routes in force, and every change of them under its revision."""

import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from registry import converters
from registry import views as converters_views
from registry.database.columns import at, given, given_any
from registry.database.session import Session
from registry.database.tables import lane_routes, route_changes, route_clock
from registry.domain.routes import LaneRoutes
from registry.repositories import KeptChanges, Position, RouteChange
from registry.sizes import fitting

_REVISION: Final = select(route_clock.c.revision)
# The revision in the same statement, since most transitions change no routes and need it all the same.
_KNOWN: Final = select(route_clock.c.revision, lane_routes.c.segment, lane_routes.c.payload).select_from(
    route_clock.outerjoin(lane_routes, given(lane_routes.c.model) & given_any(lane_routes.c.segment))
)
# All changes of one revision have the same mark.
_MARK: Final = select(route_changes.c.mark).limit(1)
_LATEST: Final = select(
    route_clock.c.revision, _MARK.where(route_changes.c.revision == route_clock.c.revision).scalar_subquery()
)
_KEPT: Final = select(
    route_clock.c.compacted,
    route_clock.c.revision,
    _MARK.where(given(route_changes.c.revision)).scalar_subquery(),
)
_WITHIN: Final = and_(
    route_changes.c.revision > bindparam("after", type_=route_changes.c.revision.type),
    route_changes.c.revision <= bindparam("up_to", type_=route_changes.c.revision.type),
)
_CHANGES: Final = (
    select(route_changes.c.revision, route_changes.c.mark, route_changes.c.payload)
    .where(_WITHIN)
    .order_by(route_changes.c.revision, route_changes.c.model, route_changes.c.segment)
)
_OCTETS: Final = (
    select(route_changes.c.revision, func.sum(func.octet_length(route_changes.c.payload)).label("octets"))
    .where(_WITHIN)
    .group_by(route_changes.c.revision)
    .order_by(route_changes.c.revision)
)
_TICK: Final = update(route_clock).values(revision=route_clock.c.revision + 1).returning(route_clock.c.revision)
_CHANGE: Final = insert(route_changes)
_NEW: Final = upsert(lane_routes)
_PUT: Final = _NEW.on_conflict_do_update(index_elements=["model", "segment"], set_={"payload": _NEW.excluded.payload})
_GONE: Final = delete(lane_routes).where(given(lane_routes.c.model, lane_routes.c.segment))


class SqlRouteLog:
    """The tables route_clock, lane_routes and route_changes.

    Attributes:
        written: the revision that this transaction made; 0: none.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.written = 0

    def revision(self) -> int:
        """The latest revision."""
        return int(self._session.execute(_REVISION).scalar_one())

    def latest(self) -> Position:
        """The latest revision, with its mark."""
        revision, mark = self._session.execute(_LATEST).one()
        return Position(int(revision), mark or "")

    def kept(self, revision: int) -> KeptChanges:
        """Which changes are kept, and the mark of one revision."""
        oldest, latest, mark = self._session.execute(_KEPT, at(revision=revision)).one()
        return KeptChanges(int(oldest), int(latest), mark or "")

    def write(self, routes: Sequence[LaneRoutes]) -> int:
        """Writes the routes that differ from those in force; one revision for all of them.

        Returns:
            The revision after it, whether it is a new one or not.
        """
        if not routes:
            return self.revision()
        changed = []
        revision, known = self._known(routes)
        for one in routes:
            payload = converters.pack(converters_views.routes_to_proto(one))
            before = known.get((one.model, one.segment))
            if before != payload and not (one.removed and before is None):
                changed.append((one, {"model": one.model, "segment": one.segment, "payload": payload}))
        if not changed:
            return revision
        self.written = self._session.execute(_TICK).scalar_one()
        new = {"revision": self.written, "mark": uuid.uuid4().hex}
        # All at once: a Worker's readiness is that of all of a model's lanes, and there may be a thousand.
        self._session.execute(_CHANGE, [row | new for _, row in changed])
        if kept := [row for one, row in changed if not one.removed]:
            self._session.execute(_PUT, kept)
        for one, _ in changed:
            if one.removed:
                self._session.execute(_GONE, at(model=one.model, segment=one.segment))
        return self.written

    def _known(self, routes: Sequence[LaneRoutes]) -> tuple[int, dict[tuple[str, str], bytes]]:
        """The revision, and the routes of these lanes as they are in force, by model and segment."""
        segments: dict[str, list[str]] = {}
        for one in routes:
            segments.setdefault(one.model, []).append(one.segment)
        revision, known = 0, dict[tuple[str, str], bytes]()
        for model, some in segments.items():
            for row in self._session.execute(_KNOWN, at(model=model, segment=some)):
                revision = row.revision
                if row.segment is not None:
                    known[model, row.segment] = bytes(row.payload)
        return int(revision), known

    def snapshot(self) -> tuple[Position, list[bytes]]:
        """The latest revision, and the routes of all lanes."""
        rows = self._session.execute(select(lane_routes.c.payload).order_by(lane_routes.c.model, lane_routes.c.segment))
        return self.latest(), [bytes(payload) for payload in rows.scalars()]

    def changes(self, after: int, limit: int) -> list[RouteChange]:
        """Changes after a revision, in order, those of one revision always together.

        Args:
            after: the revision.
            limit: of so many revisions at most; of fewer where they are large, but of one at least: a watch holds them
                until it has sent them.
        """
        within = {"after": after, "up_to": after + limit}
        if limit > 1:
            sizes = fitting(self._session.execute(_OCTETS, within), lambda row: int(row.octets))
            within["up_to"] = sizes[-1].revision if sizes else after
        rows = self._session.execute(_CHANGES, within)
        return [RouteChange(Position(row.revision, row.mark), bytes(row.payload)) for row in rows]

    def compact(self, keep: int, most: int) -> int:
        """Forgets changes of revisions before the `keep` latest ones, of `most` revisions at most; answers of how many.

        A statement must not take longer than the database allows, however long nothing was forgotten.
        """
        oldest, latest = self._session.execute(select(route_clock.c.compacted, route_clock.c.revision)).one()
        limit = min(latest - keep, oldest + most)
        if limit <= oldest:
            return 0
        self._session.execute(delete(route_changes).where(route_changes.c.revision <= limit))
        self._session.execute(update(route_clock).values(compacted=limit))
        return int(limit - oldest)
