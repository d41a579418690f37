"""By which lane a segment's requests come, and what that asks of a version that begins there."""

from registry.domain.records import Spec
from registry.domain.states import REFUSED_STATES
from registry.ports import Transaction
from registry.service.lanes import OpenLane
from services.common.errors import FailedPreconditionError


def begin_with_default(tx: Transaction, opened: OpenLane) -> None:
    """Gives a segment's lane without a stable version the default lane's, which its callers have had so far.

    Otherwise the first version that is published or tested there would have all of them at once, untested.
    """
    aggregate = opened.aggregate
    model, segment = aggregate.lane.model, aggregate.lane.segment
    default = None if not segment or aggregate.lane.stable_version else tx.lanes.lane(model, "")
    if default is None or not default.stable_version:
        return
    stable = default.stable_version
    known, _ = tx.lanes.states(model, segment, [stable])
    if stable in known and known[stable].state in REFUSED_STATES:
        raise FailedPreconditionError(
            "NO_STABLE_VERSION",
            f"segment {segment} would begin with {stable}, which the default lane has, but {stable} is "
            f"{known[stable].state} in it; `crossfade segment set {model} {segment} --version VERSION` gives it "
            "another one to begin with",
            version=stable,
        )
    aggregate.states.update(known)
    reason = f"Segment {segment} begins with {stable}, which its requests have had so far."
    aggregate.settle_in(stable, reason, seen=default.stable_seen)


def check_watched(tx: Transaction, model: str, segment: str, spec: Spec) -> None:
    """Refuses gates that watch callers whose requests do not come by the rollout's lane.

    Raises:
        FailedPreconditionError: SEGMENT_ELSEWHERE.
    """
    for watched in spec.watched:
        if watched != segment and tx.lanes.lane(model, watched) is not None:
            where = f"segment {segment}" if segment else "the default segment"
            raise FailedPreconditionError(
                "SEGMENT_ELSEWHERE",
                f"a gate watches callers in segment {watched}, which has a lane of its own: nothing of theirs comes by "
                f"the lane of {where}; drop the gate, or start the rollout in segment {watched}",
                segment=watched,
            )
