"""How a change of a lane is put together: every move is checked by the state machine and noted for storage."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from registry.domain.lane import IDLE_SLICE_SECONDS, Lane, Load
from registry.domain.ledger import EventDraft, EventType
from registry.domain.records import Outcome, Rollout, VersionInLane, percent
from registry.domain.serving import Placement, ready_workers
from registry.domain.split import BUCKETS, Split
from registry.domain.states import (
    REFUSED_STATES,
    SHARING_STATES,
    RolloutOperation,
    RolloutState,
    VersionOperation,
    rollout_after,
    version_after,
)
from services.common.errors import FailedPreconditionError
from services.common.policy.records import SLICES_PER_PERIOD

REGISTRY_ACTOR: Final = "registry"
"""Who stands in the events of what the Registry does by itself."""
BEGIN_NOTE: Final = "waits until a Worker has loaded and verified it"


class LaneChanges:
    """A lane being changed; `LaneAggregate` has the operations.

    Args:
        lane: as stored.
        rollouts: its live and its waiting rollout, as far as there are such.
        states: the states of the versions concerned: stable's, the rollouts', and the one to be published or started.
        now: seconds since 1970.
        actor: who asks for the change.
        new_etag: makes etags.
    """

    def __init__(
        self,
        lane: Lane,
        rollouts: Iterable[Rollout],
        states: Mapping[str, VersionInLane],
        *,
        now: float,
        actor: str,
        new_etag: Callable[[], str],
    ) -> None:
        self.lane = lane
        by_number = {rollout.number: rollout for rollout in rollouts}
        self.live = by_number.get(lane.live)
        self.queued = by_number.get(lane.queued)
        self.states = dict(states)
        self.changed_rollouts: dict[int, Rollout] = {}
        self.changed_states: dict[str, VersionInLane] = {}
        self.events: list[EventDraft] = []
        self._now = now
        self._actor = actor
        self._new_etag = new_etag

    def of(self, number: int) -> Rollout | None:
        """The rollout of this number as it stands in this change; None: it is not open in the lane."""
        for rollout in (self.live, self.queued, self.changed_rollouts.get(number)):
            if rollout is not None and rollout.number == number:
                return rollout
        return None

    def reopen(self) -> None:
        """Brings a lane back that was taken away; it has no stable version yet."""
        if self.lane.removed:
            self._lane(removed=False)

    def resplit(self, split: Split) -> None:
        """Takes a split into force: the epoch goes up if it differs, and at nothing else.

        The length of slices changes with the epoch alone: with another one within it, the numbers of slices would go
        back, and labels of different times would meet.
        """
        if split != self.lane.split:
            self.lane = replace(self.lane, split=split, epoch=self.lane.epoch + 1, slice_seconds=self._slice_seconds())
        live = self.live
        if live is not None and live.effective_share_bps != split.test_bps:
            self.live = self._keep(replace(live, effective_share_bps=split.test_bps))

    def _slice_seconds(self) -> float:
        live = self.live
        if live is None or live.state not in SHARING_STATES:
            return IDLE_SLICE_SECONDS
        return live.spec.plan[live.step].period_seconds / SLICES_PER_PERIOD

    def _live(self) -> Rollout:
        if self.live is None:
            raise FailedPreconditionError("TRANSITION_ILLEGAL", "the lane has no live rollout")
        return self.live

    def _activate(self, rollout: Rollout) -> Rollout:
        self._move(rollout.version, VersionOperation.TEST)
        rollout = replace(
            rollout,
            state=rollout_after(rollout.title, rollout.state, RolloutOperation.ACTIVATE),
            stable_version=self.lane.stable_version,
            note=self._waiting_note(rollout.version),
            etag=self._new_etag(),
        )
        self.live = self._keep(rollout)
        self._lane(live=rollout.number)
        return rollout

    def _waiting_note(self, version: str) -> str:
        if self.lane.handover_version:
            return (
                f"{version} waits until {self.lane.stable_version} carries all of the traffic: "
                f"{self.lane.handover_version} has a part of it still."
            )
        return f"{version} {BEGIN_NOTE}."

    def _install(self, live: Rollout) -> None:
        old = self.lane.stable_version
        if old:
            self._move(old, VersionOperation.DEPRECATE)
        self._move(live.version, VersionOperation.PROMOTE)
        self._lane(stable_version=live.version, stable_since=self._now, stable_seen=True, previous_version=old)

    def _end(self, rollout: Rollout, state: RolloutState, outcome: Outcome, event: EventType) -> None:
        ended = self._keep(
            replace(
                rollout,
                state=state,
                ended=self._now,
                paused=None,
                pause_reason=None,
                effective_share_bps=0,
                outcome=outcome,
                note=outcome.reason,
                etag=self._new_etag(),
            )
        )
        self._event(event, rollout.version, rollout.number, outcome.reason, outcome=outcome, actor=outcome.actor)
        if self.queued is not None and self.queued.number == rollout.number:
            self.queued = None
            self._lane(queued=0)
            return
        self.live = None
        if ended.started is not None:
            self._lane(next_offset=(rollout.bucket_offset + rollout.share_bps) % BUCKETS)
        self._lane(live=0)
        if self.queued is not None:
            waiting, self.queued = self.queued, None
            self._lane(queued=0)
            self._event(
                "ROLLOUT_STARTED",
                waiting.version,
                waiting.number,
                f"{rollout.title} has ended; {waiting.version} {BEGIN_NOTE}.",
                actor=REGISTRY_ACTOR,
            )
            self._activate(waiting)

    def _supersede(self, by: str) -> str:
        """Ends the rollout that waits, for a newer version waits in its place; what its publisher is to know of it."""
        if self.queued is None:
            return ""
        waiting = self.queued
        state = rollout_after(waiting.title, waiting.state, RolloutOperation.SUPERSEDE)
        outcome = Outcome(reason=f"{by} was published before it began.", code="SUPERSEDED", actor=self._actor)
        self._end(waiting, state, outcome, "ROLLOUT_CANCELLED")
        return f" Rollout {waiting.number} ({waiting.version}), which waited before it, is {state}."

    def _check_ready(self, placements: Iterable[Placement], version: str, share_bps: int) -> None:
        placements = tuple(placements)
        ready, carrier = ready_workers(placements, version), self._carrier(placements)
        stable = ready_workers(placements, carrier)
        if ready == 0 or ready * BUCKETS < share_bps * stable:
            # A lane whose segment came back has no stable version.
            beside = f" and {carrier} on {stable}" if carrier else ""
            where = f" --segment {self.lane.segment}" if self.lane.segment else ""
            raise FailedPreconditionError(
                "NOT_READY_ENOUGH",
                f"{version} is ready on {ready} Worker(s){beside}, too few for "
                f"{percent(share_bps)} of the traffic; wait until more are ready (`crossfade try {self.lane.model} "
                f"{version}{where}` has it loaded where it is not), or repeat with force",
                ready=str(ready),
                stable_ready=str(stable),
            )

    def _carrier(self, placements: Iterable[Placement], *, without: str = "") -> str:
        """The version that most Workers have ready of the two that may have the lane's traffic; empty: there is none.

        Args:
            placements: of both.
            without: none of them if it is this one.
        """
        placements = tuple(placements)
        having = [one for one in (self.lane.stable_version, self.lane.handover_version) if one and one != without]
        return max(having, key=lambda one: ready_workers(placements, one), default="")

    def _queue_note(self, version: str) -> str:
        live = self._live()
        return (
            f"{version} waits for rollout {live.number} ({live.version}, {percent(live.share_bps)}) "
            "and starts by itself."
        )

    def _move(self, version: str, operation: VersionOperation) -> None:
        state = version_after(version, self.states[version].state, operation)
        self._put(VersionInLane(version, state, self._now))
        if state in REFUSED_STATES:
            self._unload(version, f"{version} is {state}, and no request may reach it.")

    def _loaded_besides(self, version: str) -> tuple[Load, ...]:
        return tuple(load for load in self.lane.loaded if load.version != version)

    def _load(self, version: str, until: float, why: str, actor: str = "") -> None:
        """Has a version held for pinned calls until a moment, in seconds since 1970."""
        self._lane(loaded=(*self._loaded_besides(version), Load(version, until)))
        self._event("VERSION_LOADED", version, reason=why, actor=actor)

    def _unload(self, version: str, why: str, actor: str = REGISTRY_ACTOR) -> None:
        """Lets go of a version that is held for pinned calls, if it is."""
        kept = self._loaded_besides(version)
        if kept != self.lane.loaded:
            self._lane(loaded=kept)
            self._event("VERSION_UNLOADED", version, reason=why, actor=actor)

    def _put(self, one: VersionInLane) -> None:
        self.states[one.version] = self.changed_states[one.version] = one

    def _keep(self, rollout: Rollout) -> Rollout:
        self.changed_rollouts[rollout.number] = rollout
        return rollout

    def _update_live(self, **changes: Any) -> None:
        self.live = self._keep(replace(self._live(), etag=self._new_etag(), **changes))
        self._lane()

    def _lane(self, **changes: Any) -> None:
        self.lane = replace(self.lane, etag=self._new_etag(), **changes)

    def _event(
        self,
        kind: EventType,
        version: str,
        rollout: int = 0,
        reason: str = "",
        *,
        outcome: Outcome | None = None,
        actor: str = "",
    ) -> None:
        self.events.append(EventDraft(kind, self.lane.segment, version, rollout, reason, outcome, actor))
