"""The routes in force, and every change of them under its revision."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Connection

from registry import converters
from registry import views as converters_views
from registry.database.tables import lane_routes, route_changes, route_clock
from registry.domain.routes import LaneRoutes
from registry.ports import RouteChange


class SqlRouteLog:
    """The tables route_clock, lane_routes and route_changes.

    Attributes:
        written: the revision that this transaction made; 0: none.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.written = 0

    def revision(self) -> int:
        """The latest revision."""
        return int(self._connection.execute(select(route_clock.c.revision)).scalar_one())

    def oldest(self) -> int:
        """The revision up to which changes are no longer kept."""
        return int(self._connection.execute(select(route_clock.c.compacted)).scalar_one())

    def write(self, routes: Sequence[LaneRoutes]) -> int:
        """Writes the routes that differ from those in force; one revision for all of them.

        Returns:
            The revision after it, whether it is a new one or not.
        """
        changed = []
        for one in routes:
            payload = converters.pack(converters_views.routes_to_proto(one))
            query = select(lane_routes.c.payload).where(
                lane_routes.c.model == one.model, lane_routes.c.segment == one.segment
            )
            known = self._connection.execute(query).scalar_one_or_none()
            if known != payload and not (one.removed and known is None):
                changed.append((one, payload))
        if not changed:
            return self.revision()
        tick = update(route_clock).values(revision=route_clock.c.revision + 1).returning(route_clock.c.revision)
        self.written = self._connection.execute(tick).scalar_one()
        for one, payload in changed:
            self._connection.execute(
                insert(route_changes).values(
                    revision=self.written, model=one.model, segment=one.segment, payload=payload
                )
            )
            key = {"model": one.model, "segment": one.segment}
            if one.removed:
                gone = delete(lane_routes).where(lane_routes.c.model == one.model, lane_routes.c.segment == one.segment)
                self._connection.execute(gone)
                continue
            statement = upsert(lane_routes).values(**key, payload=payload)
            self._connection.execute(
                statement.on_conflict_do_update(index_elements=["model", "segment"], set_={"payload": payload})
            )
        return self.written

    def snapshot(self) -> tuple[int, list[bytes]]:
        """The latest revision, and the routes of all lanes."""
        rows = self._connection.execute(
            select(lane_routes.c.payload).order_by(lane_routes.c.model, lane_routes.c.segment)
        )
        return self.revision(), [bytes(payload) for payload in rows.scalars()]

    def changes(self, after: int, limit: int) -> list[RouteChange]:
        """Changes after a revision, in order, those of one revision always together."""
        query = (
            select(route_changes.c.revision, route_changes.c.payload)
            .where(route_changes.c.revision > after, route_changes.c.revision <= after + limit)
            .order_by(route_changes.c.revision, route_changes.c.model, route_changes.c.segment)
        )
        return [RouteChange(row.revision, bytes(row.payload)) for row in self._connection.execute(query)]

    def compact(self, keep: int) -> int:
        """Forgets all but the `keep` latest revisions' changes; answers the revision up to which they are gone."""
        limit = self.revision() - keep
        if limit <= self.oldest():
            return self.oldest()
        self._connection.execute(delete(route_changes).where(route_changes.c.revision <= limit))
        self._connection.execute(update(route_clock).values(compacted=limit))
        return limit
