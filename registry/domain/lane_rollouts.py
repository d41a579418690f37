"""What may be done with a lane's rollouts, and what follows from readiness."""

from collections.abc import Iterable
from dataclasses import replace

from registry.domain.lane_changes import BEGIN_NOTE, REGISTRY_ACTOR, LaneChanges
from registry.domain.records import Approval, Outcome, PauseReason, Rollout, Spec, VersionInLane
from registry.domain.serving import Placement, ServingState, Traffic, can_begin, ready_workers
from registry.domain.split import BUCKETS, handover_split, whole_split
from registry.domain.states import (
    LIVE_STATES,
    RolloutOperation,
    RolloutState,
    VersionOperation,
    VersionState,
    rollout_after,
    version_after,
)
from services.common.errors import FailedPreconditionError


class LaneRollouts(LaneChanges):
    """The operations of a lane's rollouts, by the state machine's rules."""

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
            rollout = replace(rollout, note=self._queue_note(version) + self._supersede(version))
            self.queued = self._keep(rollout)
            self._lane(queued=number)
            self._event("ROLLOUT_QUEUED", version, number, rollout.note)
            return rollout
        self._event("ROLLOUT_STARTED", version, number, f"{version} {BEGIN_NOTE}.")
        return self._activate(rollout)

    def observe(self, placements: Iterable[Placement]) -> None:
        """Does what follows from readiness: a handover ends, a rollout begins, or replaces what was never ready."""
        placements = tuple(placements)
        stable = self.lane.stable_version
        if stable and not self.lane.stable_seen and ready_workers(placements, stable):
            self.lane = replace(self.lane, stable_seen=True)
        self._end_handover(placements)
        live = self.live
        if live is None or live.state is not RolloutState.WAITING_READY:
            return
        # What still carries a part of the traffic is no arm of a rollout: it would lose that part at once.
        if self.lane.handover_version or not ready_workers(placements, live.version):
            return
        if not self.lane.stable_seen:
            # A stable version that is being loaded may well become ready; one that is not, or only in spite of an
            # error, was tried in vain.
            if not _is_loading(placements, stable) and not live.approval_missing:
                self._replace(live)
        elif can_begin(placements, version=live.version, stable_version=stable):
            self._begin(live)

    def _end_handover(self, placements: Iterable[Placement]) -> None:
        lane = self.lane
        if not lane.handover_version:
            return
        if handover_split(lane.stable_version, lane.handover_version, placements) == whole_split(lane.stable_version):
            self.lane = replace(lane, handover_version="")
            if self.live is not None and self.live.state is RolloutState.WAITING_READY:
                self.live = self._keep(replace(self.live, note=self._waiting_note(self.live.version)))

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
                f"{live.title} is in its last step; promote it or roll it back",
                state=live.state,
            )
        following = live.spec.plan[step]
        if not force:
            self._check_ready(placements, live.version, following.share_bps)
        note = f"{following.words(live.version)} (step {step + 1} of {len(live.spec.plan)})."
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
        note = f"{live.now.words(live.version)} (step {live.step + 1} of {len(live.spec.plan)})."
        self._update_live(state=state, paused=None, pause_reason=None, step_paused=live.step_paused + stood, note=note)
        self._event("ROLLOUT_RESUMED", live.version, live.number, reason or "Resumed.")

    def approve(self, rollout: Rollout, reason: str) -> None:
        """Agrees to a promotion that was to wait for it; the version is promoted once it has passed.

        Raises:
            FailedPreconditionError: nobody asked for an approval, it was given already, or the rollout has ended.
        """
        state = rollout_after(rollout.title, rollout.state, RolloutOperation.APPROVE)
        if not rollout.spec.approval_required:
            raise FailedPreconditionError(
                "APPROVAL_UNASKED", f"{rollout.title} asks for no approval; it is promoted when it has passed"
            )
        if rollout.approval is not None:
            raise FailedPreconditionError(
                "APPROVAL_GIVEN", f"{rollout.title} was approved by {rollout.approval.actor} already"
            )
        approval = Approval(self._actor, self._now, reason)
        approved = self._keep(replace(rollout, state=state, approval=approval, etag=self._new_etag()))
        if self.live is not None and self.live.number == rollout.number:
            self.live = approved
        else:
            self.queued = approved
        self._lane()
        self._event("ROLLOUT_APPROVED", rollout.version, rollout.number, reason)

    def promote(self, outcome: Outcome, placements: Iterable[Placement], *, force: bool) -> None:
        """Makes the test version stable.

        Raises:
            FailedPreconditionError: its state does not allow it, a person has yet to agree, or too few Workers are
                ready.
        """
        live = self._live()
        state = rollout_after(live.title, live.state, RolloutOperation.PROMOTE)
        if live.approval_missing:
            where = f" --segment {live.segment}" if live.segment else ""
            raise FailedPreconditionError(
                "APPROVAL_MISSING",
                f"{live.title} is promoted only after a person has agreed: `crossfade approve {live.model}{where}`",
                rollout=str(live.number),
            )
        placements = tuple(placements)
        if not force:
            self._check_ready(placements, live.version, BUCKETS)
        self._lane(handover_version=self._carrier(placements), handover_offset=live.bucket_offset)
        self._install(live)
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

    def _begin(self, live: Rollout) -> None:
        state = rollout_after(live.title, live.state, RolloutOperation.BEGIN)
        note = f"{live.now.words(live.version)} (step 1 of {len(live.spec.plan)})."
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
        self._install(live)
        self._end(live, state, outcome, "ROLLOUT_PROMOTED")


def _is_loading(placements: Iterable[Placement], version: str) -> bool:
    return any(
        one.serving.version == version
        and one.serving.traffic is Traffic.LIVE
        and one.serving.state is ServingState.LOADING
        and not one.serving.error
        for one in placements
    )
