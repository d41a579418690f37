"""Use cases of segments: lanes of their own, and their end."""

from collections.abc import Callable

from registry.domain.lane import Lane
from registry.domain.ledger import NO_REASON, EventDraft
from registry.domain.monitors import dropped
from registry.domain.records import Version
from registry.domain.serving import ready_workers
from registry.ports import Stale, Transaction
from registry.repositories import RequestKey
from registry.service.lane_actions import require_lane
from registry.service.lanes import ModelChange, commit, commit_lane, open_lane, require_model
from registry.service.models import LaneView, ModelView, check_model_seen, lane_view, model_view
from registry.service.requests import Mutations
from registry.service.segment_rules import carried_on, check_handed_back, check_unwatched, open_or_make_lane
from registry.service.versions import check_against_stable, require_version
from services.common.errors import FailedPreconditionError


class SegmentService:
    """Gives segments lanes of their own and takes them away; each change happens once per request id.

    Raises, besides what each method says: InvalidArgumentError REQUEST_ID_REUSED.

    Args:
        mutations: what changes run in.
    """

    def __init__(self, mutations: Mutations) -> None:
        self._mutations = mutations

    def set(
        self,
        key: RequestKey,
        name: tuple[str, str],
        version: str,
        reason: str,
        etag: str,
        encode: Callable[[LaneView], bytes],
        *,
        force: bool,
        deadline: float,
    ) -> bytes:
        """Gives a segment a lane of its own; one that has this version as its stable one is left as it is.

        Args:
            name: model and segment.
            version: to be stable in it; empty: the default lane's stable version.
            etag: the model's.
            force: although no Worker has the version ready, or callers could not use it.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, VERSION_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL, NO_STABLE_VERSION, NOT_READY_ENOUGH, SIGNATURE_INCOMPATIBLE,
                SEGMENT_WATCHED.
        """
        model_id, segment = name

        def act(tx: Transaction, now: float) -> bytes:
            check_model_seen(tx, require_model(tx, model_id), etag)
            default = _begins_with(tx, model_id, version)
            wanted = version if default is None else default.stable_version
            named = require_version(tx, model_id, wanted)
            lane = tx.lanes.lane(model_id, segment)
            if lane is not None and lane.stable_version:
                _check_same(lane, wanted, version)
                return encode(lane_view(tx, lane))
            if default is None and not force:
                _check_serves(tx, named)
            check_unwatched(tx, model_id, segment)
            opened = open_or_make_lane(tx, model_id, segment, now=now, actor=key.principal, version=wanted)
            reason_given = reason or f"Segment {segment} has {wanted} as a stable version of its own."
            carrier = ("", 0) if default is None else carried_on(tx, default, segment)
            seen = default is None or default.stable_seen
            opened.aggregate.settle_in(wanted, reason_given, seen=seen, handover=carrier)
            commit_lane(tx, opened, actor=key.principal, now=now)
            return encode(lane_view(tx, opened.aggregate.lane))

        return self._mutations.run(key, act, deadline=deadline)

    def delete(
        self,
        key: RequestKey,
        name: tuple[str, str],
        reason: str,
        etag: str,
        encode: Callable[[ModelView], bytes],
        *,
        cancel_rollout: bool,
        force: bool,
        deadline: float,
    ) -> bytes:
        """Takes a segment's lane away.

        Args:
            name: model and segment.
            etag: the lane's.
            cancel_rollout: its rollouts end first.
            force: although the default lane has nothing for the segment's callers, or what is FAILED for them.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: ROLLOUT_LIVE, NO_STABLE_VERSION, VERSION_REFUSED.
        """
        model_id, segment = name

        def act(tx: Transaction, now: float) -> bytes:
            lane = require_lane(tx, model_id, segment, etag)
            if not force:
                check_handed_back(tx, lane)
            opened = open_lane(tx, lane, now=now, actor=key.principal)
            opened.aggregate.remove(reason or NO_REASON, cancel_rollout=cancel_rollout)
            monitor = tx.monitors.find(model_id, segment)
            ended: tuple[EventDraft, ...] = ()
            if monitor is not None:
                after, ended = dropped(monitor)
                if not tx.monitors.save(after, monitor):
                    raise Stale
            model = require_model(tx, model_id)
            (model,) = commit(tx, (ModelChange(model, model, (opened,), ended),), actor=key.principal, now=now)
            return encode(model_view(tx, model))

        return self._mutations.run(key, act, deadline=deadline)


def _begins_with(tx: Transaction, model: str, version: str) -> Lane | None:
    """The default lane, if the segment's is to have its stable version; None: it is to have another one.

    Raises:
        FailedPreconditionError: NO_STABLE_VERSION.
    """
    lane = tx.lanes.lane(model, "")
    stable = "" if lane is None else lane.stable_version
    if version not in ("", stable):
        return None
    if not stable:
        raise FailedPreconditionError(
            "NO_STABLE_VERSION", f"{model} has no stable version that the segment could begin with; name a version"
        )
    return lane


def _check_serves(tx: Transaction, version: Version) -> None:
    """Refuses a version that the segment's callers, who had the default lane's so far, would not be served by."""
    default = tx.lanes.lane(version.model, "")
    stable = "" if default is None else default.stable_version
    if not ready_workers(tx.fleet.placements_of(version.model, (version.version,)), version.version):
        raise FailedPreconditionError(
            "NOT_READY_ENOUGH",
            f"{version.version} is ready on no Worker: load it first (`crossfade try {version.model} {version.version} "
            "--wait`, in the lane that has it), or repeat with force",
        )
    check_against_stable(tx, stable, version)


def _check_same(lane: Lane, wanted: str, named: str) -> None:
    if named and lane.stable_version != wanted:
        raise FailedPreconditionError(
            "TRANSITION_ILLEGAL",
            f"segment {lane.segment} has a lane already, and {lane.stable_version or 'nothing'} is stable in it; "
            f"start a rollout of {wanted} there, or undo the lane",
        )
