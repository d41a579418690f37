"""The routes of lanes that were changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.routes import FAILED_LISTED, LaneRoutes, removed_routes, routes_of
from registry.domain.serving import Placement
from registry.domain.states import VersionState
from registry.ports import Transaction


@dataclass(frozen=True, slots=True)
class Settled:
    """A lane that was changed and written.

    Attributes:
        aggregate: as it is now.
        held: the versions that Workers hold for it.
        placements: where those are served.
    """

    aggregate: LaneAggregate
    held: tuple[str, ...]
    placements: tuple[Placement, ...]


def routes_of_settled(tx: Transaction, settled: Sequence[Settled]) -> list[LaneRoutes]:
    """The routes of these lanes; what has to be read for them is read once per model, which may have a thousand."""
    segments: dict[str, list[str]] = {}
    for one in settled:
        segments.setdefault(one.aggregate.lane.model, []).append(one.aggregate.lane.segment)
    failed = {model: tx.lanes.failed(model, some, FAILED_LISTED) for model, some in segments.items()}
    return [_routes(tx, one, failed[one.aggregate.lane.model]) for one in settled]


def _routes(tx: Transaction, settled: Settled, failed: Mapping[str, Sequence[str]]) -> LaneRoutes:
    aggregate = settled.aggregate
    lane = aggregate.lane
    if lane.removed:
        return removed_routes(lane)
    states = {version: state.state for version, state in aggregate.states.items()}
    if lane.handover_version:
        # What carries a segment's callers on from the default lane was never a version of theirs.
        states.setdefault(lane.handover_version, VersionState.DEPRECATED)
    return routes_of(
        lane,
        aggregate.live,
        versions=tx.catalog.versions_by_id(lane.model, settled.held),
        states=states,
        failed=failed.get(lane.segment, ()),
        placements=settled.placements,
    )
