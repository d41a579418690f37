"""Use cases of monitors: lanes that are watched while no rollout is live in them."""

from collections.abc import Callable

from registry.domain.ledger import EventDraft
from registry.domain.monitors import Monitor, MonitorLook, MonitorSettings, after_look, changed
from registry.ports import Stale, Transaction, UnitOfWork
from registry.repositories import RequestKey
from registry.service.lanes import ModelChange, commit, find_lane, require_model
from registry.service.requests import Mutations
from services.common.errors import AbortedError

Encode = Callable[[Monitor], bytes]


class MonitorService:
    """Monitors."""

    def __init__(self, unit_of_work: UnitOfWork, mutations: Mutations) -> None:
        self._unit_of_work = unit_of_work
        self._mutations = mutations

    def get(self, model: str, segment: str, *, deadline: float) -> Monitor:
        """A lane's monitor, with its defaults where nobody has watched it yet.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
        """

        def read(tx: Transaction) -> Monitor:
            find_lane(tx, model, segment)
            return tx.monitors.find(model, segment) or Monitor(model, segment)

        return self._unit_of_work.run(read, deadline=deadline, read_only=True)

    def set(
        self,
        key: RequestKey,
        lane: tuple[str, str],
        settings: MonitorSettings,
        wanted: frozenset[str],
        reason: str,
        encode: Encode,
        *,
        deadline: float,
    ) -> bytes:
        """Changes how a lane is watched.

        Args:
            lane: model and segment.
            settings: those to set.
            wanted: the names of these; the others stay.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
        """

        def act(tx: Transaction, now: float) -> bytes:
            find_lane(tx, *lane)
            known = tx.monitors.find(*lane)
            before = known or Monitor(*lane)
            after, events = changed(before, before.settings.updated(settings, wanted), reason)
            if not tx.monitors.save(after, known):
                raise Stale
            _tell(tx, lane[0], events, actor=key.principal, now=now)
            return encode(after)

        return self._mutations.run(key, act, deadline=deadline)

    def record(
        self, key: RequestKey, lane: tuple[str, str], look: MonitorLook, answer: bytes, *, deadline: float
    ) -> bytes:
        """Records the look that follows the latest one, and tells of alerts that are new or gone.

        Args:
            lane: model and segment.

        Raises:
            NotFoundError: MODEL_NOT_FOUND, LANE_NOT_FOUND.
            AbortedError: SEQUENCE_STALE, VERSION_STALE, MONITOR_OFF.
        """

        def act(tx: Transaction, now: float) -> bytes:
            stable = find_lane(tx, *lane).stable_version
            if stable != look.version:
                raise AbortedError(
                    "VERSION_STALE", f"{look.version} was looked at, and {stable or 'nothing'} is stable: look again"
                )
            known = tx.monitors.find(*lane)
            before = known or Monitor(*lane)
            if before.settings.off:
                raise AbortedError("MONITOR_OFF", "the lane is not to be watched: somebody has just said so")
            after, events = after_look(before, look, now)
            if before.sequence != look.sequence - 1 or not tx.monitors.save(after, known):
                raise AbortedError(
                    "SEQUENCE_STALE",
                    f"look {look.sequence} does not follow the latest one, {before.sequence}; "
                    "read the monitor and look again",
                )
            _tell(tx, lane[0], events, actor=key.principal, now=now)
            return answer

        # Only a look that tells of something changes the model; it is then tried again like any change.
        return self._mutations.run(key, act, deadline=deadline, exclusive=False)


def _tell(tx: Transaction, model: str, events: tuple[EventDraft, ...], *, actor: str, now: float) -> None:
    if events:
        known = require_model(tx, model)
        commit(tx, (ModelChange(known, known, (), events),), actor=actor, now=now)
