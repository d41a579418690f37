"""From the Registry's LaneRoutes to the routing table."""

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2
from router.split import ArmName, Split
from router.table import PIN_PREVIOUS, PIN_STABLE, PIN_TEST, Lane, Table, Target, is_enough, keep_half


class TableMaker:
    """Makes tables. A lane whose routes are the same object as the last time is taken over.

    Two hundred lanes whose versions have a thousand classes take 0.15 s of the event loop, and mostly one has changed.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], _Made] = {}

    @property
    def named(self) -> frozenset[str]:
        """Every process that the Registry names in the last table's routes; see `named_addresses`."""
        return frozenset[str]().union(*(made.named for made in self._made.values()))

    def make(
        self,
        revision: int,
        lanes: Iterable[resources_pb2.LaneRoutes],
        before: Table,
        now: float,
        heard_since: float,
    ) -> Table:
        """The table of these lanes.

        Args:
            revision: the routes' revision.
            lanes: all lanes; whoever hands them over does not change them any more.
            before: the table in force; it bounds how fast stable's addresses may vanish.
            now: seconds of the monotonic clock.
            heard_since: since when the Registry has been heard without a break.
        """
        made = dict[tuple[str, str], _Made]()
        for routes in lanes:
            key = (routes.model, routes.segment)
            known = self._made.get(key)
            # What is kept beyond the leases goes with time.
            if known is None or known.routes is not routes or known.lane.kept_since != inf:
                known = _Made(routes, _lane(routes, before, now, heard_since), named_addresses([routes]))
            made[key] = known
        self._made = made
        return Table(revision, {key: one.lane for key, one in made.items()})


class _Made(NamedTuple):
    routes: resources_pb2.LaneRoutes
    lane: Lane
    named: frozenset[str]


def named_addresses(lanes: Iterable[resources_pb2.LaneRoutes]) -> frozenset[str]:
    """Every process that the Registry names. A table may keep more of them: `keep_half`."""
    return frozenset(
        endpoint.address
        for lane in lanes
        for endpoints in (
            *(arm.endpoints for arm in lane.arms),
            *(one.endpoints for one in lane.wanted),
            lane.shadow.endpoints,
        )
        for endpoint in endpoints
    )


def _lane(routes: resources_pb2.LaneRoutes, before: Table, now: float, heard_since: float) -> Lane:
    arms: dict[ArmName, Target] = {}
    shares = dict.fromkeys(ArmName, 0)
    for arm in routes.arms:
        name = ArmName(arm.arm)
        shares[name] = arm.share_bps
        traffic = "control" if name is ArmName.CONTROL else "live"
        arms[name] = Target(arm.version, traffic, tuple(endpoint.address for endpoint in arm.endpoints))
    known = before.lanes.get((routes.model, routes.segment))
    stable = arms.get(ArmName.STABLE)
    basis, kept_since = stable.addresses if stable else (), inf
    if stable and known and known.stable and known.stable.version == stable.version:
        kept, before_few = keep_half(stable.addresses, known.basis)
        if kept != stable.addresses and not is_enough(known.kept_since, now, heard_since):
            basis, kept_since = before_few, min(known.kept_since, now)
            arms[ArmName.STABLE] = Target(stable.version, stable.traffic, kept)
    return Lane(
        model=routes.model,
        segment=routes.segment,
        epoch=routes.epoch,
        sticky=routes.assignment == policy_pb2.ASSIGNMENT_KEY,
        split=Split(routes.bucket_offset, shares[ArmName.TEST], shares[ArmName.CONTROL]),
        arms=arms,
        pins={one.version: tuple(endpoint.address for endpoint in one.endpoints) for one in routes.wanted},
        names={
            PIN_STABLE: routes.stable_version,
            PIN_TEST: routes.test_version,
            PIN_PREVIOUS: routes.previous_version,
        },
        classes={one.version: tuple(one.signature.classes) for one in routes.wanted},
        basis=basis,
        kept_since=kept_since,
        shadow=_shadow(routes.shadow) if routes.HasField("shadow") else None,
        watched=frozenset(routes.watched_segments),
        failed=frozenset(routes.failed_versions),
    )


def _shadow(arm: resources_pb2.RouteArm) -> Target:
    return Target(arm.version, "shadow", tuple(endpoint.address for endpoint in arm.endpoints))
