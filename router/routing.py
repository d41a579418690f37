"""Which version a call goes to: pins, segments, buckets."""

from dataclasses import replace
from typing import Final, NamedTuple

from crossfade.names import LONGEST_ID, is_id
from router.call import FAILOVER, PINNED, Draw
from router.split import BUCKETS, ArmName, bucket_of, cohort_of
from router.table import PIN_PREVIOUS, PIN_STABLE, PIN_TEST, Lane, Table, Target
from services.common.errors import FailedPreconditionError, NotFoundError, UnavailableError
from services.common.text import fitting, listed, shown

_ALIASES: Final = (PIN_STABLE, PIN_TEST, PIN_PREVIOUS)


class Route(NamedTuple):
    """Where a call goes.

    Attributes:
        lane: its lane.
        target: the version and kind of traffic.
        arm: the arm; None for a pin.
        bucket: 0 to 9,999; -1 for a pin.
        caller: the caller's segment, if a gate watches it by itself; empty: none does, or the call is pinned.
    """

    lane: Lane
    target: Target
    arm: ArmName | None
    bucket: int
    caller: str = ""

    @property
    def cohort(self) -> int:
        """The cohort of the bucket while the lane tries a version by key; -1: it does not, or the call is pinned."""
        return cohort_of(self.bucket) if self.arm is not None and self.lane.sticky and self.lane.split.tried else -1


def check_known(table: Table) -> None:
    """Refuses to say anything of models before there was a table.

    Raises:
        UnavailableError: ROUTES_UNKNOWN.
    """
    if not table.known:
        raise UnavailableError(
            "ROUTES_UNKNOWN",
            "this Router has just started and has no routes yet; try again. If it stays so, it cannot reach the "
            "Registry: see its log and CROSSFADE_REGISTRY (with CROSSFADE_TABLE_FILE it starts without the Registry)",
        )


def choose(table: Table, model: str, segment: str, key: str, pin: str, draw: Draw) -> Route:
    """Chooses the version for a call.

    Args:
        table: in force.
        model: the model's id.
        segment: the caller's; empty: the default one.
        key: the routing key; empty: none.
        pin: a version or an alias that the caller asks for; empty: none.
        draw: gives uniform numbers in [0, 1).

    Raises:
        NotFoundError: MODEL_NOT_FOUND, or VERSION_NOT_LOADED for a pin.
        FailedPreconditionError: NO_STABLE_VERSION.
        UnavailableError: ROUTES_UNKNOWN.
    """
    lane = _lane_of(table, model, segment, pin)
    if pin:
        return Route(lane, _pinned(lane, pin), None, -1)
    bucket = bucket_of(model, key) if key and lane.sticky else int(draw() * BUCKETS)
    arm, target = lane.arm(bucket)
    if target is None:
        raise FailedPreconditionError(
            "NO_STABLE_VERSION",
            f"{model} has no stable version yet; publish one with `crossfade publish {model} DIR`",
        )
    return Route(lane, target, arm, bucket, segment if segment in lane.watched else "")


def told_by(table: Table, model: str, segment: str, version: str) -> Route:
    """Chooses who is asked what a version takes and gives.

    Args:
        table: in force.
        model: the model's id.
        segment: the caller's; empty: the default one.
        version: a version or an alias; empty: the stable one, or what answers in its place until Workers hold it.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, or VERSION_NOT_LOADED.
        UnavailableError: ROUTES_UNKNOWN.
    """
    lane = _lane_of(table, model, segment, version)
    if not version and lane.stable is not None and not _addresses(lane, PIN_STABLE):
        return Route(lane, lane.stable, None, -1)
    return Route(lane, _pinned(lane, version or PIN_STABLE), None, -1)


def elsewhere(table: Table, lane: Lane, target: Target, address: str) -> tuple[Lane, Target] | None:
    """Where a version is served by now besides a process that is waited for, if newer routes say so.

    Where it is not served at all any more (its lane is gone, or another version is stable there by now), the call is
    for the lane's stable version, once a process has that: it has asked for none, unless it is pinned.

    Args:
        table: in force.
        lane: the call's, of an older table perhaps.
        target: the version, as the call went to it.
        address: of the process that is waited for.

    Returns:
        The newer lane, and processes that the call's did not name; any that there are when no route leads to the
        address any more, those of the stable version as for a failover. None: no such.
    """
    newer = table.lane(lane.model, lane.segment)
    if newer is None or newer is lane:
        return None
    held = newer.pins.get(target.version, ())
    known = _named(lane, target.version)
    found = tuple(one for one in held if one not in known)
    if not found and address not in _named(newer, target.version):
        found = held
    stable = newer.stable
    may_leave = not held and target.traffic != PINNED
    if may_leave and stable is not None and stable.addresses and stable.version != target.version:
        return newer, replace(stable, traffic=FAILOVER)
    # What control's process was to answer is judged for neither when another one answers.
    traffic = FAILOVER if target.traffic == "control" else target.traffic
    return (newer, Target(target.version, traffic, found)) if found else None


def _lane_of(table: Table, model: str, segment: str, pin: str) -> Lane:
    check_known(table)
    lane = table.lane(model, segment)
    if lane is None:
        raise NotFoundError(
            "MODEL_NOT_FOUND",
            f"no model {shown(model)}; `crossfade models` lists them, and `crossfade publish` creates one",
            model=model,
        )
    held = bool(pin) and bool(_addresses(lane, pin))
    if lane.stable is None and not held:
        # A segment's lane to which nothing that could serve was published yet.
        lane = table.lane(model, "") or lane
    return lane


def _named(lane: Lane, version: str) -> frozenset[str]:
    arms = (arm.addresses for arm in lane.arms.values() if arm.version == version)
    return frozenset(address for addresses in (lane.pins.get(version, ()), *arms) for address in addresses)


def _version(lane: Lane, pin: str) -> str:
    return lane.names.get(pin, "") if pin in _ALIASES else pin


def _addresses(lane: Lane, pin: str) -> tuple[str, ...]:
    return lane.pins.get(_version(lane, pin), ())


def _how_to_hold(lane: Lane, version: str) -> str:
    """What has Workers hold a version that no requests go to, or why none may; empty: there is no version to name."""
    if not is_id(version):
        return ""
    if version in lane.failed:
        return f". {version} is FAILED in this lane, and no request may reach it"
    where = f" --segment {lane.segment}" if lane.segment else ""
    held = f"A published one is held after `crossfade try {lane.model} {version}{where}`"
    return f". {held}, unless it is FAILED or WITHDRAWN"


def _pinned(lane: Lane, pin: str) -> Target:
    addresses = _addresses(lane, pin)
    if not addresses:
        held = listed(sorted(version for version, where in lane.pins.items() if where)) or "none"
        raise NotFoundError(
            "VERSION_NOT_LOADED",
            f"no Worker holds {lane.model} {fitting(pin, LONGEST_ID)}; versions that a pin can reach now: {held}"
            + _how_to_hold(lane, _version(lane, pin)),
            model=lane.model,
            version=pin,
        )
    return Target(_version(lane, pin), PINNED, addresses)
