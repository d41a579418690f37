"""What follows from a change of Workers' readiness: in all lanes of a model, of which there may be a thousand."""

from collections.abc import Iterable, Sequence

from registry.domain.lane import Lane
from registry.domain.lane_aggregate import LaneAggregate
from registry.domain.lane_changes import REGISTRY_ACTOR
from registry.domain.serving import Placement
from registry.ports import Transaction
from registry.service.lanes import ModelChange, OpenLane, commit, concerned, new_etag, require_model


def follow(tx: Transaction, models: Iterable[str], now: float) -> None:
    """Lets the lanes of models see changed readiness; one that follows from it changes its routes."""
    lanes = tx.lanes.of_models(sorted(models))
    changes = []
    for name in sorted(lanes):
        model = require_model(tx, name)
        changes.append(ModelChange(model, model, _open(tx, name, lanes[name], now)))
    commit(tx, changes, actor=REGISTRY_ACTOR, now=now)


def _open(tx: Transaction, model: str, lanes: Sequence[Lane], now: float) -> tuple[OpenLane, ...]:
    """Opens all lanes of a model, by as many questions as one takes: others change routes meanwhile."""
    read = tx.lanes.rollouts(model, {number for lane in lanes for number in (lane.live, lane.queued)})
    rollouts = {one.number: one for one in read}
    own = {lane.segment: [rollouts[n] for n in (lane.live, lane.queued) if n in rollouts] for lane in lanes}
    wanted = {lane.segment: concerned(lane, own[lane.segment]) for lane in lanes}
    states = tx.lanes.states_of(model, wanted)
    served: dict[str, list[Placement]] = {version: [] for some in wanted.values() for version in some}
    for one in tx.fleet.placements_of(model, sorted(served)):
        served[one.serving.version].append(one)
    opened = []
    for lane in lanes:
        some = own[lane.segment]
        aggregate = LaneAggregate(
            lane, some, states.get(lane.segment, {}), now=now, actor=REGISTRY_ACTOR, new_etag=new_etag
        )
        known = {version: served[version] for version in wanted[lane.segment]}
        opened.append(OpenLane(aggregate, lane, {one.number: one for one in some}, True, known))
    return tuple(opened)
