"""Use cases of people that change a lane without a rollout: undo, withdraw."""

from collections.abc import Callable

from registry.domain.lane import Lane
from registry.domain.records import Undo
from registry.ports import RequestKey, Transaction
from registry.service.lanes import ModelChange, OpenLane, commit, open_lane, placements_of, require_model
from registry.service.models import STATES_SHOWN, LaneView
from registry.service.requests import Mutations
from registry.service.versions import VersionView, require_version
from services.common.errors import AbortedError, NotFoundError


def require_lane(tx: Transaction, model: str, segment: str, etag: str) -> Lane:
    """The lane, as the caller has seen it.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
        AbortedError: ETAG_STALE.
    """
    lane = tx.lanes.lane(model, segment)
    if lane is None:
        require_model(tx, model)
        raise NotFoundError("LANE_NOT_FOUND", f"model {model} has no lane for segment {segment!r}", segment=segment)
    if lane.etag != etag:
        raise AbortedError(
            "ETAG_STALE",
            f"the lane has changed since you read it: {lane.stable_version or 'nothing'} is stable"
            + (f", rollout {lane.live} is live" if lane.live else "")
            + "; read the model again and decide again",
            etag=lane.etag,
        )
    return lane


class LaneService:
    """Lanes."""

    def __init__(self, mutations: Mutations) -> None:
        self._mutations = mutations

    def undo(
        self,
        key: RequestKey,
        lane: tuple[str, str],
        wanted: Undo,
        etag: str,
        encode: Callable[[LaneView], bytes],
        *,
        deadline: float,
    ) -> bytes:
        """Makes an earlier version stable again.

        Args:
            lane: model and segment.
            etag: the lane's.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND, VERSION_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL, ROLLOUT_LIVE, NOT_READY_ENOUGH.
        """
        model_id, segment = lane

        def act(tx: Transaction, now: float) -> bytes:
            found = require_lane(tx, model_id, segment, etag)
            version = wanted.version or found.previous_version
            opened = _open(tx, found, version, key.principal, now)
            placements = placements_of(tx, opened.aggregate)
            if version and version not in (found.stable_version, found.previous_version):
                placements += tx.fleet.placements_of(model_id, (version,))
            opened.aggregate.undo(wanted, placements)
            _commit(tx, opened, key.principal, now)
            states = tx.lanes.newest_states([model_id], STATES_SHOWN)
            return encode(LaneView(opened.aggregate.lane, tuple(states.get((model_id, segment), ()))))

        return self._mutations.run(key, act, deadline=deadline)

    def withdraw(
        self,
        key: RequestKey,
        name: tuple[str, str, str],
        reason: str,
        etag: str,
        encode: Callable[[VersionView], bytes],
        *,
        deadline: float,
    ) -> bytes:
        """Takes a PENDING version back.

        Args:
            name: model, version and segment.
            etag: the lane's.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND, VERSION_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL.
        """
        model_id, version_id, segment = name

        def act(tx: Transaction, now: float) -> bytes:
            found = require_lane(tx, model_id, segment, etag)
            version = require_version(tx, model_id, version_id)
            opened = _open(tx, found, version_id, key.principal, now)
            opened.aggregate.withdraw(version_id, reason)
            _commit(tx, opened, key.principal, now)
            return encode(VersionView(version, tx.catalog.lane_states(model_id, (version_id,)).get(version_id, [])))

        return self._mutations.run(key, act, deadline=deadline)


def _open(tx: Transaction, lane: Lane, version: str, actor: str, now: float) -> OpenLane:
    """The lane, with the version among its states.

    Raises:
        NotFoundError: VERSION_NOT_FOUND.
    """
    opened = open_lane(tx, lane, now=now, actor=actor, version=version)
    if version and version not in opened.aggregate.states:
        require_version(tx, lane.model, version)
        raise NotFoundError(
            "VERSION_NOT_FOUND", f"version {version} is not in the lane of segment {lane.segment!r}", version=version
        )
    return opened


def _commit(tx: Transaction, opened: OpenLane, actor: str, now: float) -> None:
    model = require_model(tx, opened.aggregate.lane.model)
    commit(tx, (ModelChange(model, model, (opened,)),), actor=actor, now=now)
