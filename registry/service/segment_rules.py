"""By which lane a segment's requests come, and what that asks of a version that begins there."""

from typing import Final

from registry.domain.lane import Lane, empty_lane
from registry.domain.records import Spec
from registry.domain.states import REFUSED_STATES
from registry.ports import Transaction
from registry.service.lanes import OpenLane, new_etag, open_lane
from services.common.errors import FailedPreconditionError

MOST_SEGMENTS: Final = 1_000
"""Segments of a model with lanes of their own: every Router and every Worker is told of each."""


def open_or_make_lane(tx: Transaction, model: str, segment: str, *, now: float, actor: str, version: str) -> OpenLane:
    """The lane of a segment, one that was taken away as well, or a new one where there never was one.

    Raises:
        FailedPreconditionError: TOO_MANY_SEGMENTS.
    """
    known = tx.lanes.lane(model, segment, removed_too=True)
    if segment and (known is None or known.removed) and tx.lanes.segments(model, MOST_SEGMENTS) >= MOST_SEGMENTS:
        raise FailedPreconditionError(
            "TOO_MANY_SEGMENTS",
            f"{model} has {MOST_SEGMENTS} segments with lanes of their own, the most that it may have; take away one "
            f"that is not needed (`crossfade segment delete {model} SEGMENT`)",
        )
    lane = known or empty_lane(model, segment, new_etag())
    return open_lane(tx, lane, now=now, actor=actor, version=version, new=known is None)


def begin_with_default(tx: Transaction, opened: OpenLane) -> None:
    """Gives a segment's lane without a stable version the default lane's, which its callers have had so far.

    Otherwise the first version that is published or tested there would have all of them at once, untested.

    Raises:
        FailedPreconditionError: NO_STABLE_VERSION, SEGMENT_WATCHED.
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
    check_unwatched(tx, model, segment)
    aggregate.states.update(known)
    reason = f"Segment {segment} begins with {stable}, which its requests have had so far."
    aggregate.settle_in(stable, reason, seen=default.stable_seen, handover=carried_on(tx, default, segment))


def carried_on(tx: Transaction, default: Lane, segment: str) -> tuple[str, int]:
    """What still carries the default lane's callers while its stable version is loaded, as `settle_in` takes it.

    They would lose it at once in a lane of their own. One that has failed for these callers carries nothing.
    """
    version = default.handover_version
    known, _ = tx.lanes.states(default.model, segment, [version]) if version else ({}, 0)
    if version in known and known[version].state in REFUSED_STATES:
        return "", 0
    return version, default.handover_offset


def check_handed_back(tx: Transaction, lane: Lane) -> None:
    """Refuses to hand a segment's callers to a default lane that has nothing for them, or what is refused to them.

    Raises:
        FailedPreconditionError: NO_STABLE_VERSION, VERSION_REFUSED.
    """
    if not lane.stable_version:
        # They come by the default lane already.
        return
    default = tx.lanes.lane(lane.model, "")
    if default is None or not default.stable_version:
        raise FailedPreconditionError(
            "NO_STABLE_VERSION",
            f"the default lane of {lane.model} has no stable version, and the callers in segment {lane.segment} would "
            "be served by nothing; publish one to it first, or repeat with force",
        )
    # One that waits comes to them by itself, when the one before it has ended.
    tested = [one.version for one in tx.lanes.rollouts(lane.model, (default.live, default.queued))]
    given = {default.stable_version, default.handover_version, *tested} - {""}
    known, _ = tx.lanes.states(lane.model, lane.segment, sorted(given))
    for version in sorted(given & known.keys()):
        state = known[version].state
        if state in REFUSED_STATES:
            raise FailedPreconditionError(
                "VERSION_REFUSED",
                f"{version} is {state} in segment {lane.segment}, and the segment's callers would get it from the "
                "default lane; give that lane another one first, or repeat with force",
                version=version,
                state=state,
            )


def check_watched(tx: Transaction, model: str, segment: str, spec: Spec) -> None:
    """Refuses gates that watch callers whose requests do not come by the rollout's lane.

    Raises:
        FailedPreconditionError: SEGMENT_ELSEWHERE.
    """
    for watched in spec.watched:
        if watched == segment:
            continue
        if segment:
            raise FailedPreconditionError(
                "SEGMENT_ELSEWHERE",
                f"a gate watches callers in segment {watched}, and by the lane of segment {segment} come its own "
                f"callers alone; drop the gate, or start the rollout in the default segment or in segment {watched}",
                segment=watched,
            )
        lane = tx.lanes.lane(model, watched)
        # Callers of a lane in which nothing is stable come by the default one.
        if lane is not None and lane.stable_version:
            raise FailedPreconditionError(
                "SEGMENT_ELSEWHERE",
                f"a gate watches callers in segment {watched}, which has a lane of its own: nothing of theirs comes by "
                f"the lane of the default segment; drop the gate, or start the rollout in segment {watched}",
                segment=watched,
            )


def check_unwatched(tx: Transaction, model: str, segment: str) -> None:
    """Refuses to take callers out of the default lane, whose requests a gate of a rollout there watches.

    It would never conclude, or on what it had counted so far.

    Raises:
        FailedPreconditionError: SEGMENT_WATCHED.
    """
    default = tx.lanes.lane(model, "")
    for rollout in () if default is None else tx.lanes.rollouts(model, (default.live, default.queued)):
        if segment in rollout.spec.watched:
            raise FailedPreconditionError(
                "SEGMENT_WATCHED",
                f"a gate of {rollout.title} in the default segment watches callers in segment {segment}, and of them "
                "nothing would come by its lane any more; repeat when it has ended, or cancel it first "
                f"(`crossfade abort {model} --rollout {rollout.number}`)",
                rollout=str(rollout.number),
                segment=segment,
            )
