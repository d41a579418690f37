"""A lane as one consistent whole: its stable version, its live rollout and the one that waits behind it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from registry.domain import (
    LIVE_STATES,
    RolloutOperation,
    RolloutState,
    VersionOperation,
    VersionState,
    rollout_after,
    version_after,
)
from registry.domain_ledger import EventDraft
from registry.domain_records import Outcome, PauseReason, Rollout, Spec, VersionInLane, percent
from registry.domain_serving import Placement, ServingState, Traffic, can_begin, ready_workers
from registry.domain_split import BUCKETS, Split, whole_split
from services.common.errors import FailedPreconditionError

REGISTRY_ACTOR: Final = "registry"
"""Who stands in the events of what the Registry does by itself."""

_BEGIN_NOTE: Final = "waits until a Worker has loaded and verified it"


@dataclass(frozen=True, slots=True)
class Lane:
    """(model, segment) and what holds there.

    Attributes:
        stable_version: empty: none yet.
        stable_since: seconds since 1970.
        stable_seen: it was ready on some Worker since it became stable.
        previous_version: the stable version before it; empty: none.
        handover_version: the old stable version while it still carries what the new one's Workers cannot; else empty.
        handover_offset: first bucket of the new version's range meanwhile.
        live: number of the live rollout; 0: none.
        queued: number of the rollout behind it; 0: none.
        epoch: number of the split in force.
        split: the split in force.
        next_offset: end of the last rollout's range: first bucket of the next one's.
        etag: changes with its versions' states and its rollouts' coming and going, never with readiness.
    """

    model: str
    segment: str
    stable_version: str
    stable_since: float | None
    stable_seen: bool
    previous_version: str
    handover_version: str
    handover_offset: int
    live: int
    queued: int
    epoch: int
    split: Split
    next_offset: int
    etag: str


def empty_lane(model: str, segment: str, etag: str) -> Lane:
    """A lane to which nothing was published yet."""
    return Lane(model, segment, "", None, False, "", "", 0, 0, 0, 0, Split(), 0, etag)


class LaneAggregate:
    """Changes a lane by the state machine's rules and notes what has to be stored.

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

    def add(self, version: str) -> None:
        """Enters a version into the lane as PENDING, if it is not there."""
        if version not in self.states:
            self._put(VersionInLane(version, VersionState.PENDING, self._now))

    def establish(self, version: str) -> None:
        """Makes the lane's first version stable at once."""
        self._move(version, VersionOperation.ESTABLISH)
        self._lane(stable_version=version, stable_since=self._now, stable_seen=False)
        self._event("VERSION_STABLE", version, reason=f"{version} is the lane's first version.")

    def start(self, version: str, spec: Spec, number: int) -> Rollout:
        """Starts a rollout, or queues it behind the live one; it takes the place of one that waits.

        Raises:
            FailedPreconditionError: the version is not PENDING, or waits already.
        """
        state = self.states[version].state
        version_after(version, state, VersionOperation.TEST)
        if self.queued is not None and self.queued.version == version:
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL",
                f"{version} waits already as rollout {self.queued.number}; cancel that to start it in another way",
                state=self.queued.state,
            )
        rollout = Rollout(
            model=self.lane.model,
            number=number,
            segment=self.lane.segment,
            version=version,
            stable_version=self.lane.stable_version,
            state=RolloutState.QUEUED,
            spec=spec,
            created=self._now,
            creator=self._actor,
            note="",
            etag=self._new_etag(),
        )
        if self.live is not None:
            self._supersede(version)
            rollout = replace(rollout, note=self._queue_note(version))
            self.queued = self._keep(rollout)
            self._lane(queued=number)
            self._event("ROLLOUT_QUEUED", version, number, rollout.note)
            return rollout
        self._event("ROLLOUT_STARTED", version, number, f"{version} {_BEGIN_NOTE}.")
        return self._activate(rollout)

    def observe(self, placements: Iterable[Placement]) -> None:
        """Does what follows from readiness: a rollout begins, or replaces a stable version that was never ready."""
        placements = tuple(placements)
        stable = self.lane.stable_version
        if stable and not self.lane.stable_seen and ready_workers(placements, stable):
            self.lane = replace(self.lane, stable_seen=True)
        live = self.live
        if live is None or live.state is not RolloutState.WAITING_READY:
            return
        if not ready_workers(placements, live.version):
            return
        if not self.lane.stable_seen:
            # A stable version that is being loaded may well become ready; one that is not was tried in vain.
            if not _is_loading(placements, stable):
                self._replace(live)
        elif can_begin(placements, version=live.version, stable_version=stable):
            self._begin(live)

    def advance(self, outcome: Outcome, placements: Iterable[Placement], *, force: bool) -> None:
        """Goes to the next step.

        Raises:
            FailedPreconditionError: not RUNNING, the last step, or too few Workers are ready.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.ADVANCE)
        step = live.step + 1
        if step >= len(live.spec.plan):
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL",
                f"{live.title} is in the last of its {len(live.spec.plan)} steps; promote it or roll it back",
                state=live.state,
            )
        share = live.spec.plan[step].share_bps
        if not force:
            self._check_ready(placements, live.version, share)
        note = f"{live.version} gets {percent(share)} (step {step + 1} of {len(live.spec.plan)})."
        self._update_live(state=state, step=step, step_started=self._now, step_paused=0.0, note=note)
        if self.queued is not None:
            self.queued = self._keep(replace(self.queued, note=self._queue_note(self.queued.version)))
        self._event("ROLLOUT_ADVANCED", live.version, live.number, outcome.reason or note, outcome=outcome)

    def pause(self, reason: str, why: PauseReason) -> None:
        """Stops the plan's clock; the share stays.

        Raises:
            FailedPreconditionError: neither RUNNING nor paused for another reason.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.PAUSE)
        if live.pause_reason in (why, PauseReason.PERSON):
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL", f"{live.title} is paused already; resume it to let it go on", state=live.state
            )
        reason = reason or "Paused."
        paused = self._now if live.paused is None else live.paused
        self._update_live(state=state, paused=paused, pause_reason=why, note=reason)
        self._event("ROLLOUT_PAUSED", live.version, live.number, reason)

    def resume(self, reason: str, *, automatic: bool) -> None:
        """Lets the plan go on.

        Args:
            reason: why.
            automatic: a look asks for it and no person.

        Raises:
            FailedPreconditionError: it is not paused, or a person paused it and no person asks.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.RESUME)
        if automatic and live.pause_reason is PauseReason.PERSON:
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL", f"a person paused {live.title}, and only a person resumes it", state=live.state
            )
        stood = 0.0 if live.paused is None else max(0.0, self._now - live.paused)
        note = f"{live.version} gets {percent(live.share_bps)} (step {live.step + 1} of {len(live.spec.plan)})."
        self._update_live(state=state, paused=None, pause_reason=None, step_paused=live.step_paused + stood, note=note)
        self._event("ROLLOUT_RESUMED", live.version, live.number, reason or "Resumed.")

    def promote(self, outcome: Outcome, placements: Iterable[Placement], *, force: bool) -> None:
        """Makes the test version stable.

        Raises:
            FailedPreconditionError: its state does not allow it, or too few Workers are ready.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.PROMOTE)
        placements = tuple(placements)
        if not force:
            self._check_ready(placements, live.version, BUCKETS)
        seen = ready_workers(placements, live.version) > 0
        self._lane(handover_version=self.lane.stable_version, handover_offset=live.bucket_offset)
        self._install(live, seen=seen)
        self._end(live, state, outcome, "ROLLOUT_PROMOTED")

    def rollback(self, outcome: Outcome) -> None:
        """Marks the test version FAILED, for ever in this lane.

        Raises:
            FailedPreconditionError: the rollout's state does not allow it.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.ROLLBACK)
        self._move(live.version, VersionOperation.FAIL)
        self._end(live, state, outcome, "ROLLOUT_ROLLED_BACK")

    def cancel(self, rollout: Rollout, outcome: Outcome, *, inconclusive: bool) -> None:
        """Ends a rollout without blame; the version is PENDING again.

        Raises:
            FailedPreconditionError: the rollout's state does not allow it.
        """
        operation = RolloutOperation.CONCLUDE if inconclusive else RolloutOperation.CANCEL
        state = rollout_after(rollout.title, rollout.state, operation)
        if rollout.state in LIVE_STATES:
            self._move(rollout.version, VersionOperation.RELEASE)
        self._end(rollout, state, outcome, "ROLLOUT_INCONCLUSIVE" if inconclusive else "ROLLOUT_CANCELLED")

    def of(self, number: int) -> Rollout | None:
        """The rollout of this number as it stands in this change; None: it is not open in the lane."""
        for rollout in (self.live, self.queued, self.changed_rollouts.get(number)):
            if rollout is not None and rollout.number == number:
                return rollout
        return None

    def resplit(self, split: Split) -> None:
        """Takes a split into force: the epoch goes up if it differs, and at nothing else."""
        if split != self.lane.split:
            self.lane = replace(self.lane, split=split, epoch=self.lane.epoch + 1)
        if self.lane.handover_version and split == whole_split(self.lane.stable_version):
            self.lane = replace(self.lane, handover_version="")
        live = self.live
        if live is not None and live.effective_share_bps != split.test_bps:
            self.live = self._keep(replace(live, effective_share_bps=split.test_bps))

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
            note=f"{rollout.version} {_BEGIN_NOTE}.",
            etag=self._new_etag(),
        )
        self.live = self._keep(rollout)
        self._lane(live=rollout.number)
        return rollout

    def _begin(self, live: Rollout) -> None:
        state = rollout_after(live.title, live.state, RolloutOperation.BEGIN)
        note = f"{live.version} gets {percent(live.share_bps)} (step 1 of {len(live.spec.plan)})."
        self._update_live(
            state=state,
            stable_version=self.lane.stable_version,
            bucket_offset=self.lane.next_offset,
            started=self._now,
            step_started=self._now,
            note=note,
        )
        self._event("ROLLOUT_RUNNING", live.version, live.number, note, actor=REGISTRY_ACTOR)

    def _replace(self, live: Rollout) -> None:
        state = rollout_after(live.title, live.state, RolloutOperation.REPLACE)
        old = self.lane.stable_version
        reason = (
            f"{live.version} is ready and replaces {old}, which was never ready on any Worker."
            if old
            else f"{live.version} is ready and is the lane's first version."
        )
        outcome = Outcome(reason=reason, code="STABLE_NEVER_READY", actor=REGISTRY_ACTOR)
        self._install(live, seen=True)
        self._end(live, state, outcome, "ROLLOUT_PROMOTED")

    def _install(self, live: Rollout, *, seen: bool) -> None:
        old = self.lane.stable_version
        if old:
            self._move(old, VersionOperation.DEPRECATE)
        self._move(live.version, VersionOperation.PROMOTE)
        self._lane(stable_version=live.version, stable_since=self._now, stable_seen=seen, previous_version=old)

    def _end(self, rollout: Rollout, state: RolloutState, outcome: Outcome, event: str) -> None:
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
                f"{rollout.title} has ended; {waiting.version} {_BEGIN_NOTE}.",
                actor=REGISTRY_ACTOR,
            )
            self._activate(waiting)

    def _supersede(self, by: str) -> None:
        if self.queued is None:
            return
        waiting = self.queued
        state = rollout_after(waiting.title, waiting.state, RolloutOperation.SUPERSEDE)
        outcome = Outcome(reason=f"{by} was published before it began.", code="SUPERSEDED", actor=self._actor)
        self._end(waiting, state, outcome, "ROLLOUT_CANCELLED")

    def _check_ready(self, placements: Iterable[Placement], version: str, share_bps: int) -> None:
        placements = tuple(placements)
        ready = ready_workers(placements, version)
        stable = ready_workers(placements, self.lane.stable_version)
        if ready == 0 or ready * BUCKETS < share_bps * stable:
            raise FailedPreconditionError(
                "NOT_READY_ENOUGH",
                f"{version} is ready on {ready} Worker(s) and {self.lane.stable_version} on {stable}, too few for "
                f"{percent(share_bps)} of the traffic; wait until more are ready, or repeat with force",
                ready=str(ready),
                stable_ready=str(stable),
            )

    def _queue_note(self, version: str) -> str:
        live = self._live()
        return (
            f"{version} waits for rollout {live.number} ({live.version}, {percent(live.share_bps)}) "
            "and starts by itself."
        )

    def _move(self, version: str, operation: VersionOperation) -> None:
        state = version_after(version, self.states[version].state, operation)
        self._put(VersionInLane(version, state, self._now))

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
        kind: str,
        version: str,
        rollout: int = 0,
        reason: str = "",
        *,
        outcome: Outcome | None = None,
        actor: str = "",
    ) -> None:
        self.events.append(EventDraft(kind, self.lane.segment, version, rollout, reason, outcome, actor))


def _is_loading(placements: Iterable[Placement], version: str) -> bool:
    return any(
        one.serving.version == version
        and one.serving.traffic is Traffic.LIVE
        and one.serving.state is ServingState.LOADING
        for one in placements
    )
