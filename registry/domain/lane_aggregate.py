"""A lane as one consistent whole: its rollouts, and what people do with it without one."""

from collections.abc import Iterable
from dataclasses import replace

from registry.domain.lane import HELD_UNDONE_SECONDS, LONGEST_LOAD_SECONDS, MOST_LOADED
from registry.domain.lane_changes import REGISTRY_ACTOR
from registry.domain.lane_rollouts import LaneRollouts
from registry.domain.records import Outcome, Undo
from registry.domain.serving import APART_SECONDS, Placement
from registry.domain.split import BUCKETS
from registry.domain.states import REFUSED_STATES, VersionOperation, VersionState, version_after
from services.common.errors import FailedPreconditionError


class LaneAggregate(LaneRollouts):
    """The operations of a lane, by the state machine's rules."""

    def settle_in(self, version: str, reason: str, *, seen: bool = True, handover: tuple[str, int] = ("", 0)) -> None:
        """Gives a segment's new lane its stable version, one that other lanes know.

        Args:
            version: the version.
            reason: why.
            seen: some Worker has had it ready.
            handover: the version that still carries the lane's callers while this one is loaded, and the first bucket
                of this one's range meanwhile; empty: none.

        Raises:
            FailedPreconditionError: the version has failed or was withdrawn in this segment before.
        """
        self.add(version)
        known = self.states[version].state
        operation = VersionOperation.RESTORE if known is VersionState.DEPRECATED else VersionOperation.ESTABLISH
        self._move(version, operation)
        carrier, offset = handover
        self._lane(
            stable_version=version,
            stable_since=self._now,
            stable_seen=seen,
            handover_version=carrier,
            handover_offset=offset,
            removed=False,
        )
        self._event("SEGMENT_SET", version, reason=reason)

    def remove(self, reason: str, *, cancel_rollout: bool) -> None:
        """Takes the lane away; what failed in it has failed still if it ever comes back.

        Raises:
            FailedPreconditionError: a rollout is live or waits.
        """
        # The one that waits first: it would begin when the live one ends.
        open_rollouts = [one for one in (self.queued, self.live) if one is not None]
        if open_rollouts and not cancel_rollout:
            raise FailedPreconditionError(
                "ROLLOUT_LIVE",
                f"{open_rollouts[-1].title} is live; cancel it, or repeat with cancel_rollout",
                rollout=str(open_rollouts[-1].number),
            )
        for one in open_rollouts:
            ended = f"The lane of segment {self.lane.segment} was deleted."
            self.cancel(one, Outcome(ended, "SEGMENT_DELETED", actor=self._actor), inconclusive=False)
        stable = self.lane.stable_version
        if stable:
            self._move(stable, VersionOperation.DEPRECATE)
        for load in self.lane.loaded:
            self._unload(load.version, f"The lane of segment {self.lane.segment} was deleted.")
        self._lane(
            stable_version="",
            stable_since=None,
            stable_seen=False,
            previous_version="",
            handover_version="",
            removed=True,
        )
        self._event("SEGMENT_DELETED", stable, reason=reason)

    def load(self, version: str, until: float) -> None:
        """Has Workers hold a version for pinned calls until a moment, in seconds since 1970; a past one lets it go.

        Raises:
            FailedPreconditionError: the version has failed or was withdrawn, or too many are loaded.
        """
        if until <= self._now:
            self._unload(version, f"{version} is no longer held for pinned calls.", actor="")
            return
        state = self.states[version].state
        if state in REFUSED_STATES:
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL",
                f"version {version} is {state} in this lane, and no request may reach it",
                state=state,
            )
        others = self._loaded_besides(version)
        if len(others) >= MOST_LOADED:
            held = ", ".join(load.version for load in others)
            raise FailedPreconditionError(
                "TOO_MANY_LOADED",
                f"{len(others)} versions are loaded by hand already ({held}); let one of them go first",
            )
        self._load(version, until, f"{version} is held for pinned calls and gets no traffic.")

    def expire_loads(self) -> None:
        """Lets go what was loaded for long enough."""
        longest = self._now + LONGEST_LOAD_SECONDS
        for load in self.lane.loaded:
            if load.until <= self._now:
                self._unload(load.version, f"{load.version} was held for as long as was asked.")
            elif load.until > longest + APART_SECONDS:
                # Nobody can ask for that: it was asked for by a clock that was ahead. For how long nobody knows.
                why = (
                    f"{load.version} was to be held until a time that a clock had put too late, and is held for a week."
                )
                self._load(load.version, longest, why, actor=REGISTRY_ACTOR)

    def withdraw(self, version: str, reason: str) -> None:
        """Takes a PENDING version back.

        Raises:
            FailedPreconditionError: it is not PENDING, or its rollout waits.
        """
        if self.queued is not None and self.queued.version == version:
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL",
                f"{version} waits as rollout {self.queued.number}; cancel that, then withdraw it",
                state=self.queued.state,
            )
        self._move(version, VersionOperation.WITHDRAW)
        self._lane()
        self._event("VERSION_WITHDRAWN", version, reason=reason)

    def undo(self, wanted: Undo, placements: Iterable[Placement]) -> None:
        """Makes an earlier version stable again.

        Raises:
            FailedPreconditionError: it was never stable, a rollout is live, or too few Workers have it ready.
        """
        version, old = wanted.version or self.lane.previous_version, self.lane.stable_version
        if not version:
            raise FailedPreconditionError(
                "TRANSITION_ILLEGAL",
                "the lane has no version to go back to: it was undone, or has had no other; name one that was stable "
                f"before and is DEPRECATED (`crossfade versions {self.lane.model}` shows), or publish a good one: what "
                "is FAILED stays so",
            )
        version_after(version, self.states[version].state, VersionOperation.RESTORE)
        placements = tuple(placements)
        if not wanted.force:
            self._check_ready(placements, version, BUCKETS)
        # Workers refuse what has failed, so that only a version that is not bad can carry anything meanwhile.
        carrier = self._carrier(placements, without=old if wanted.bad else "")
        if self.live is not None:
            if not wanted.cancel_rollout:
                raise FailedPreconditionError(
                    "ROLLOUT_LIVE",
                    f"{self.live.title} is live; cancel it, or repeat with cancel_rollout",
                    rollout=str(self.live.number),
                )
            ended = f"{old} was undone while {self.live.version} was tested."
            self.cancel(self.live, Outcome(ended, "UNDONE", actor=self._actor), inconclusive=False)
        # A lane that came back after its segment was deleted may have none.
        if old:
            self._move(old, VersionOperation.CONDEMN if wanted.bad else VersionOperation.DEPRECATE)
        self._move(version, VersionOperation.RESTORE)
        self._lane(
            stable_version=version,
            stable_since=self._now,
            stable_seen=True,
            # Two who undo the same thing, of whom one may be a monitor, must not bring it back.
            previous_version="",
            handover_version="" if carrier == version else carrier,
            handover_offset=self.lane.next_offset,
        )
        if self.live is not None:
            # It waited behind the one that was cancelled, and is compared with what is stable now.
            waits = self._waiting_note(self.live.version)
            self.live = self._keep(replace(self.live, stable_version=version, note=waits))
        if old and not wanted.bad:
            self._hold_undone(old)
        became = f"{old} is {self.states[old].state}: " if old else ""
        code = "UNDONE_AS_BAD" if wanted.bad else "UNDONE"
        outcome = Outcome(f"{became}{wanted.reason}", code, actor=self._actor)
        self._event("LANE_UNDONE", version, reason=wanted.reason, outcome=outcome)

    def _hold_undone(self, version: str) -> None:
        """Has Workers hold what was undone for a while: a mistaken undo is then taken back at once.

        Where too many are loaded by hand already it is loaded at need, as any other.
        """
        until = self._now + HELD_UNDONE_SECONDS
        longer = any(load.version == version and load.until >= until for load in self.lane.loaded)
        if longer or len(self._loaded_besides(version)) >= MOST_LOADED:
            return
        why = f"{version} was undone, and is held for an hour so that it could come back at once."
        self._load(version, until, why, actor=REGISTRY_ACTOR)
