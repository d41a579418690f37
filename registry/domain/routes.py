"""What Routers and Workers have to know of a lane, computed from the lane and the Workers' readiness."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from registry.domain.lane import Lane
from registry.domain.records import Assignment, Rollout, Version
from registry.domain.serving import Placement, Traffic
from registry.domain.split import Split, handover_split, shadow_split, trial_split, whole_split
from registry.domain.states import LIVE_STATES, SHARING_STATES, VersionState

FAILED_LISTED: Final = 20
"""FAILED versions that Workers are told of."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of an arm, and the Worker that it belongs to."""

    instance_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of the split.

    Attributes:
        arm: "test", "control" or "stable".
        share_bps: its share in force.
    """

    arm: str
    version: str
    share_bps: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that Workers hold."""

    version: Version
    state: VersionState
    traffic: tuple[Traffic, ...]
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRoutes:
    """Everything that Routers and Workers need to know of one lane.

    Attributes:
        shadow: gets a copy of control's requests.
        policy: the live rollout's, a serialized crossfade.common.v1.Policy; empty: none.
    """

    model: str
    segment: str
    epoch: int
    slice_seconds: float
    assignment: Assignment
    bucket_offset: int
    arms: tuple[Arm, ...]
    wanted: tuple[Wanted, ...]
    failed_versions: tuple[str, ...]
    rollout: int
    stable_version: str
    test_version: str
    previous_version: str
    shadow: Arm | None = None
    policy: bytes = b""
    removed: bool = False


def removed_routes(lane: Lane) -> LaneRoutes:
    """What is said of a lane that is gone."""
    return LaneRoutes(
        model=lane.model,
        segment=lane.segment,
        epoch=0,
        slice_seconds=0.0,
        assignment=Assignment.REQUEST,
        bucket_offset=0,
        arms=(),
        wanted=(),
        failed_versions=(),
        rollout=0,
        stable_version="",
        test_version="",
        previous_version="",
        removed=True,
    )


def split_of(lane: Lane, live: Rollout | None, placements: Iterable[Placement]) -> Split:
    """The split that follows from a lane's state and its Workers' readiness."""
    if live is not None and live.state in SHARING_STATES:
        divide = shadow_split if live.now.shadow else trial_split
        return divide(live.stable_version, live.version, live.share_bps, placements)
    if lane.handover_version:
        return handover_split(lane.stable_version, lane.handover_version, placements)
    return whole_split(lane.stable_version)


def held_versions(lane: Lane, live: Rollout | None) -> tuple[str, ...]:
    """The versions that Workers hold for a lane: stable, test, what carries for stable, previous, loaded by hand."""
    test = live.version if live is not None and live.state in LIVE_STATES else ""
    loaded = (load.version for load in lane.loaded)
    names = (lane.stable_version, test, lane.handover_version, lane.previous_version, *loaded)
    return tuple(dict.fromkeys(name for name in names if name))


def basis_of(lane: Lane, live: Rollout | None) -> tuple[object, ...]:
    """What a lane's routes, and whatever follows from readiness, rest on besides readiness and its versions' states."""
    whole = replace(lane, etag="", queued=0)
    if live is None:
        return (whole,)
    return (
        whole,
        live.number,
        live.stable_version,
        live.step,
        live.bucket_offset,
        live.state in LIVE_STATES,
        live.state in SHARING_STATES,
        live.approval_missing,
    )


def routes_of(
    lane: Lane,
    live: Rollout | None,
    *,
    versions: Mapping[str, Version],
    states: Mapping[str, VersionState],
    failed: Sequence[str],
    placements: Iterable[Placement],
) -> LaneRoutes:
    """The routes of a lane whose split is in force already.

    Args:
        lane: with its split and epoch.
        live: its live rollout.
        versions: at least those that Workers hold.
        states: their states.
        failed: the lane's FAILED versions, newest first.
        placements: of the model's versions, in any order.
    """
    placements = sorted(placements, key=lambda one: one.instance_id)
    testing = live is not None and live.state in LIVE_STATES
    wanted = []
    for name in held_versions(lane, live):
        controlled = testing and name == lane.stable_version
        wanted.append(
            Wanted(
                version=versions[name],
                state=states[name],
                traffic=(Traffic.LIVE, Traffic.CONTROL) if controlled else (Traffic.LIVE,),
                endpoints=_endpoints(placements, name, Traffic.LIVE),
            )
        )
    sharing = live is not None and live.state in SHARING_STATES
    assignment, offset = Assignment.REQUEST, 0
    if live is not None:
        assignment, offset = live.spec.assignment, live.bucket_offset if sharing else 0
    if lane.handover_version and not sharing:
        # By key, whatever the rollout's was: no key is to change between the versions, as it would by each request.
        assignment, offset = Assignment.KEY, lane.handover_offset
    return LaneRoutes(
        model=lane.model,
        segment=lane.segment,
        epoch=lane.epoch,
        slice_seconds=lane.slice_seconds,
        assignment=assignment,
        bucket_offset=offset,
        arms=_arms(lane.split, placements),
        wanted=tuple(wanted),
        failed_versions=tuple(failed[:FAILED_LISTED]),
        rollout=live.number if live is not None else 0,
        stable_version=lane.stable_version,
        test_version=live.version if live is not None else "",
        previous_version=lane.previous_version,
        shadow=_shadow(lane.split, placements),
        policy=live.spec.policy if live is not None else b"",
    )


def _shadow(split: Split, placements: Sequence[Placement]) -> Arm | None:
    if not split.shadow_bps:
        return None
    endpoints = _endpoints(placements, split.test_version, Traffic.LIVE)
    return Arm("shadow", split.test_version, split.shadow_bps, endpoints)


def _arms(split: Split, placements: Sequence[Placement]) -> tuple[Arm, ...]:
    arms = (
        Arm("test", split.test_version, split.test_bps, _endpoints(placements, split.test_version, Traffic.LIVE)),
        Arm(
            "control",
            split.control_version,
            split.control_bps,
            _endpoints(placements, split.control_version, Traffic.CONTROL),
        ),
        Arm(
            "stable", split.stable_version, split.stable_bps, _endpoints(placements, split.stable_version, Traffic.LIVE)
        ),
    )
    # Stable stays without a share of its own too: a test at 50 % leaves none, and a failed attempt is repeated there.
    return tuple(arm for arm in arms if arm.share_bps or (arm.arm == "stable" and arm.version))


def _endpoints(placements: Sequence[Placement], version: str, traffic: Traffic) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(one.instance_id, one.serving.address)
        for one in placements
        if one.ready and one.serving.version == version and one.serving.traffic is traffic
    )
