"""Use cases of people that change a lane without a rollout: load, undo, withdraw."""

from collections.abc import Callable
from functools import partial
from typing import Final

from crossfade.names import lane_title
from registry.domain.lane import Lane
from registry.domain.lane_changes import REGISTRY_ACTOR
from registry.domain.ledger import EventDraft
from registry.domain.monitors import Monitor, check_armed, disarmed
from registry.domain.records import Undo
from registry.ports import Stale, Transaction, UnitOfWork
from registry.repositories import RequestKey
from registry.service.each import Rounds
from registry.service.lanes import OpenLane, commit_lane, find_lane, open_lane
from registry.service.models import LaneView, lane_view
from registry.service.requests import Mutations
from registry.service.segment_rules import check_unwatched
from registry.service.versions import VersionView, require_version
from services.common.clock import Clock, recordable
from services.common.errors import AbortedError, NotFoundError

_BATCH: Final = 100


def require_lane(tx: Transaction, model: str, segment: str, etag: str) -> Lane:
    """The lane, as the caller has seen it.

    Raises:
        NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
        AbortedError: ETAG_STALE.
    """
    lane = find_lane(tx, model, segment)
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
    """What is done to a lane outside its rollouts: versions held for pinned calls, undone, taken back.

    What callers ask for happens once per request id, and answers what `encode` makes of it. It raises, besides what
    each method says: InvalidArgumentError REQUEST_ID_REUSED.

    Args:
        unit_of_work: what reads, and what nobody asked for, run in.
        mutations: what changes run in.
        clock: until when versions are held.
    """

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations
        self._clock = clock
        self._rounds = Rounds[tuple[str, str]](_BATCH)

    def load(
        self,
        key: RequestKey,
        name: tuple[str, str, str],
        seconds: float,
        etag: str,
        encode: Callable[[LaneView], bytes],
        *,
        deadline: float,
    ) -> bytes:
        """Has Workers hold a version for pinned calls, for so long from now on; 0 lets it go.

        Args:
            name: model, version and segment.
            etag: the lane's.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND, VERSION_NOT_FOUND.
            AbortedError: ETAG_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL, TOO_MANY_LOADED.
        """
        model_id, version_id, segment = name

        def act(tx: Transaction, now: float) -> bytes:
            found = require_lane(tx, model_id, segment, etag)
            opened = _open(tx, found, version_id, key.principal, now)
            opened.aggregate.load(version_id, now + seconds)
            commit_lane(tx, opened, actor=key.principal, now=now)
            return encode(lane_view(tx, opened.aggregate.lane))

        return self._mutations.run(key, act, deadline=deadline)

    def expire(self, *, deadline: float) -> int:
        """Lets go what was loaded for long enough; answers in how many lanes."""
        now = recordable(self._clock.now())
        found = self._unit_of_work.run(
            lambda tx: tx.lanes.expiring(now, self._rounds.asked), deadline=deadline, read_only=True
        )
        due = self._rounds.due(found)

        def expire(lane: tuple[str, str]) -> None:
            self._unit_of_work.run(partial(_expire, *lane, now), deadline=deadline, exclusive=True)

        self._rounds.each(due, expire)
        return len(due)

    def undo(
        self,
        key: RequestKey,
        lane: tuple[str, str],
        wanted: Undo,
        etag: str,
        look: int,
        encode: Callable[[LaneView], bytes],
        *,
        deadline: float,
    ) -> bytes:
        """Makes an earlier version stable again.

        Args:
            lane: model and segment.
            etag: the lane's.
            look: the one of its monitor that asks for it; 0: a person does.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND, VERSION_NOT_FOUND.
            AbortedError: ETAG_STALE, MONITOR_DISARMED, SEQUENCE_STALE.
            FailedPreconditionError: TRANSITION_ILLEGAL, ROLLOUT_LIVE, NOT_READY_ENOUGH, SEGMENT_WATCHED.
        """
        model_id, segment = lane

        def act(tx: Transaction, now: float) -> bytes:
            found = require_lane(tx, model_id, segment, etag)
            monitor = tx.monitors.find(model_id, segment)
            if not found.stable_version:
                check_unwatched(tx, model_id, segment)
            if look:
                check_armed(monitor or Monitor(model_id, segment), look)
            version = wanted.version or found.previous_version
            opened = _open(tx, found, version, key.principal, now)
            placements = opened.placements(tx)
            if version and version not in (found.stable_version, found.previous_version):
                placements += tuple(tx.fleet.placements_of(model_id, (version,)))
            opened.aggregate.undo(wanted, placements)
            told = _disarm(tx, monitor)
            commit_lane(tx, opened, actor=key.principal, now=now, events=told)
            return encode(lane_view(tx, opened.aggregate.lane))

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
            commit_lane(tx, opened, actor=key.principal, now=now)
            return encode(VersionView(version, tx.catalog.lane_states(model_id, (version_id,)).get(version_id, [])))

        return self._mutations.run(key, act, deadline=deadline)


def _expire(model: str, segment: str, now: float, tx: Transaction) -> None:
    lane = tx.lanes.lane(model, segment)
    if lane is not None:
        opened = open_lane(tx, lane, now=now, actor=REGISTRY_ACTOR)
        opened.aggregate.expire_loads()
        commit_lane(tx, opened, actor=REGISTRY_ACTOR, now=now)


def _disarm(tx: Transaction, monitor: Monitor | None) -> tuple[EventDraft, ...]:
    """Two versions must not take turns because a monitor undoes what was undone."""
    if monitor is None or not monitor.settings.undo:
        return ()
    after, events = disarmed(monitor)
    if not tx.monitors.save(after, monitor):
        raise Stale
    return events


def _open(tx: Transaction, lane: Lane, version: str, actor: str, now: float) -> OpenLane:
    """The lane, with the version among its states.

    Raises:
        NotFoundError: VERSION_NOT_FOUND.
    """
    opened = open_lane(tx, lane, now=now, actor=actor, version=version)
    if version and version not in opened.aggregate.states:
        require_version(tx, lane.model, version)
        raise NotFoundError(
            "VERSION_NOT_FOUND",
            f"version {version} is not in {lane_title(lane.segment)}; `crossfade versions {lane.model}` shows where "
            "each is",
            version=version,
        )
    return opened
