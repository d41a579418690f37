"""Lanes and Workers as tests make them."""

from collections.abc import Callable, Iterable
from itertools import count

from registry.domain.lane import empty_lane
from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.records import (
    Artifact,
    Assignment,
    Objective,
    Outcome,
    Signature,
    Spec,
    Step,
    TensorSpec,
    Version,
)
from registry.domain.serving import Placement, Serving, ServingState, Traffic

START = 1_700_000_000.0
OUTCOME = Outcome(reason="Because.", code="PERSON", actor="local:ana")


def etags() -> Callable[[], str]:
    """Makes etags in order."""
    numbers = count(1)
    return lambda: f"e{next(numbers)}"


def spec(*shares: int, assignment: Assignment = Assignment.REQUEST, period: float = 3600.0) -> Spec:
    """A rollout with one step per share."""
    steps = tuple(Step(share, 0.0, period) for share in shares or (500,))
    return Spec(steps, b"", Objective.NON_INFERIOR, assignment)


def aggregate(now: float = START) -> LaneAggregate:
    """An empty lane."""
    return LaneAggregate(empty_lane("m", "", "e0"), (), {}, now=now, actor="local:ana", new_etag=etags())


def placed(
    version: str,
    *workers: str,
    state: ServingState = ServingState.READY,
    traffic: Traffic = Traffic.LIVE,
) -> list[Placement]:
    """A version on Workers."""
    return [
        Placement(
            worker,
            Serving("m", version, traffic, f"{worker}.{version}.{traffic.lower()}:1", state),
            state is ServingState.READY,
            START,
        )
        for worker in workers
    ]


def version(name: str) -> Version:
    """A version's record."""
    signature = Signature(
        (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),), "classification", ("a", "b"), ""
    )
    return Version("m", name, 1, Artifact("file:///m", "sha256:" + "0" * 64, 1), signature, "", START, "local:ana")


def stable_lane(placements: Iterable[Placement] = ()) -> LaneAggregate:
    """A lane with v1 stable and seen ready."""
    lane = aggregate()
    lane.add("v1")
    lane.establish("v1")
    lane.observe(placements or placed("v1", "w1"))
    return lane


def running_lane(*shares: int, assignment: Assignment = Assignment.REQUEST) -> LaneAggregate:
    """A lane with v1 stable and v2 RUNNING as rollout 1, on Worker w1."""
    lane = stable_lane()
    lane.add("v2")
    lane.start("v2", spec(*shares, assignment=assignment), 1)
    lane.observe(both())
    return lane


def both() -> list[Placement]:
    """v1 (with its control process) and v2 ready on Worker w1."""
    return [*placed("v1", "w1"), *placed("v1", "w1", traffic=Traffic.CONTROL), *placed("v2", "w1")]


def states(lane: LaneAggregate) -> dict[str, str]:
    """The states of a lane's versions."""
    return {name: str(one.state) for name, one in lane.states.items()}


def types(lane: LaneAggregate) -> list[str]:
    return [event.type for event in lane.events]
