"""From the Registry's LaneRoutes to the routing table."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2
from router.split import ArmName, Split
from router.table import (
    PIN_PREVIOUS,
    PIN_STABLE,
    PIN_TEST,
    Key,
    Lane,
    ModelVersion,
    Table,
    Target,
    is_enough,
    keep_half,
)
from router.uses import Uses


class TableMaker:
    """Makes tables. A lane whose routes are the same object as the last time is taken over.

    Two hundred lanes whose versions have a thousand classes take 0.15 s of the event loop, and mostly one has changed.
    So what is known of all lanes together is counted by lane as well: of 2,000 one change took 17 ms, in which no call
    was carried, and a fleet of Workers that starts makes thousands.
    """

    def __init__(self) -> None:
        self._made: dict[Key, _Made] = {}
        self._kept: set[Key] = set()
        self._named = Uses[str]()
        self._reached = Uses[str]()
        self._held = Uses[ModelVersion]()
        self._lanes: dict[Key, Lane] = {}
        self._classes: dict[ModelVersion, tuple[str, ...]] = {}

    @property
    def named(self) -> frozenset[str]:
        """Every process that the Registry names in the last table's routes; see `named_addresses`."""
        return self._named.all

    @property
    def reached(self) -> frozenset[str]:
        """Every process that the last table has, those among them that are kept against the Registry's word."""
        return self._reached.all

    def make(
        self,
        revision: int,
        lanes: Mapping[Key, resources_pb2.LaneRoutes],
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
        made = self._made
        changed = {key for key, routes in lanes.items() if (one := made.get(key)) is None or one.routes is not routes}
        # What is kept beyond the leases goes with time.
        changed |= self._kept & lanes.keys()
        for key in made.keys() - lanes.keys():
            self._leave(key, made.pop(key))
        for key in changed:
            routes = lanes[key]
            one = _Made(routes, _lane(routes, before, now, heard_since), named_addresses([routes]))
            if key in made:
                self._leave(key, made[key])
            made[key] = one
            self._enter(key, one)
        return Table(revision, self._lanes.copy(), held=self._classes.copy())

    def _enter(self, key: Key, one: "_Made") -> None:
        lane = self._lanes[key] = one.lane
        if lane.kept_since != inf:
            self._kept.add(key)
        self._named.add(one.named)
        self._reached.add(lane.addresses)
        self._held.add((lane.model, version) for version in lane.classes)
        self._classes.update(((lane.model, version), classes) for version, classes in lane.classes.items())

    def _leave(self, key: Key, one: "_Made") -> None:
        lane = self._lanes.pop(key)
        self._kept.discard(key)
        self._named.remove(one.named)
        self._reached.remove(lane.addresses)
        for gone in self._held.remove((lane.model, version) for version in lane.classes):
            del self._classes[gone]


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
    pins = {one.version: tuple(endpoint.address for endpoint in one.endpoints) for one in routes.wanted}
    stable = arms.get(ArmName.STABLE)
    basis, kept_since = stable.addresses if stable else (), inf
    if stable and known and known.stable and known.stable.version == stable.version:
        kept, before_few = keep_half(stable.addresses, known.basis)
        if kept != stable.addresses and not is_enough(known.kept_since, now, heard_since):
            basis, kept_since = before_few, min(known.kept_since, now)
            arms[ArmName.STABLE] = Target(stable.version, stable.traffic, kept)
            pins[stable.version] = kept
    return Lane(
        model=routes.model,
        segment=routes.segment,
        epoch=routes.epoch,
        sticky=routes.assignment == policy_pb2.ASSIGNMENT_KEY,
        split=Split(routes.bucket_offset, shares[ArmName.TEST], shares[ArmName.CONTROL]),
        arms=arms,
        pins=pins,
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
