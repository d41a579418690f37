"""What the Evaluator needs of the world: the Registry and a source of metrics, without a word of RPC."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from evaluator.evidence.state import Look
from evaluator.terms import Profile, Terms
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decision import Decision, Phase
from evaluator.verdict.readiness import Served
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from services.common.policy.drafts import PlanDraft, PolicyDraft
from services.common.policy.records import Meaning, Objective


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout as the Registry has it; times in seconds since 1970-01-01 UTC, 0: unset.

    Attributes:
        name: `models/{model}/rollouts/{rollout}`.
        model: the model's id.
        segment: the lane's segment.
        test: the test version's id.
        stable: the stable version's id; empty before RUNNING.
        phase: where it stands; None: there is nothing to look at (queued or ended).
        step: the plan's step in force, from 0.
        step_start: when it began.
        step_paused: seconds that its clock has stood, without a pause that lasts still.
        pause_start: when the present pause began.
        sticky: requests are assigned by key.
        objective: what the test version must show; None: one that this release does not know.
        policy: by what it is to be judged, as asked for.
        plan: its steps, as asked for.
        sequence: the number of the latest recorded look.
        etag: for transitions.
        approval_missing: a person is to agree to the promotion, and nobody has yet.
        unknown: what in its policy and plan this release does not know, as the fields' paths.
    """

    name: str
    model: str
    segment: str
    test: str
    stable: str
    phase: Phase | None
    step: int
    step_start: float
    step_paused: float
    pause_start: float
    sticky: bool
    policy: PolicyDraft
    plan: PlanDraft
    sequence: int
    etag: str
    approval_missing: bool = False
    objective: Objective | None = Objective.NON_INFERIOR
    unknown: tuple[str, ...] = ()

    def elapsed(self, now: float) -> float:
        """Seconds that the present step has run, without pauses; 0 before the first step.

        Below 0 where the Registry's clock was ahead when it began or paused: how it moves on from look to look is true
        all the same, and to stand at 0 would be to stand until the clocks agree.
        """
        if not self.step_start:
            return 0.0
        paused = now - self.pause_start if self.pause_start else 0.0
        return now - self.step_start - self.step_paused - paused


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane.

    Attributes:
        epoch: number of its split in force.
        slice_seconds: length of that epoch's slices.
        stable: its stable version; empty: none.
        segment: whose requests it gets.
        rollout: the live rollout's name; empty: none.
        previous: the stable version before this one; empty: none.
        etag: for transitions.
        shares: of the test and of the control arm, in basis points.
    """

    epoch: int
    slice_seconds: float
    stable: str
    segment: str = ""
    rollout: str = ""
    previous: str = ""
    etag: str = ""
    shares: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class VersionView:
    """What is needed of a version: what its answers mean, and its reference profile (None: none)."""

    meaning: Meaning
    profile: Profile | None


@dataclass(frozen=True, slots=True)
class ProcessView:
    """A Router or a Worker.

    Attributes:
        instance_id: which start of which process.
        address: host:port of its metrics.
        worker: it is a Worker.
        served: what a Worker says of the versions, with their models' ids.
    """

    instance_id: str
    address: str
    worker: bool
    served: tuple[tuple[str, Served], ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A page of recorded looks, oldest first.

    Attributes:
        looks: at least one.
        cursor: the cumulative counts after the last of them; kept for a rollout's latest look only.
    """

    looks: tuple[Look, ...]
    cursor: Counts


@dataclass(frozen=True, slots=True)
class MonitorView:
    """A lane that is watched without a rollout, as the Registry has it.

    Attributes:
        off: it is not to be watched.
        undo: an alert is to make the version before stable again.
        learn: seconds for which the stable version's past is learnt.
        version: the one that the latest look was of; empty: there was none.
        sequence: the latest look's number.
        record_time: when it was, seconds since 1970-01-01 UTC; 0: there was none.
        evidence: what it left to go on from.
        cursor: the cumulative counts after it.
    """

    off: bool
    undo: bool
    learn: float
    version: str
    sequence: int
    record_time: float
    evidence: bytes
    cursor: Counts


@dataclass(frozen=True, slots=True)
class MonitorRecord:
    """A look at a lane.

    Attributes:
        sequence: its number.
        version: the stable version that was looked at.
        decision: what was found.
        alerts: what stands out: gates, each with a sentence.
        evidence: what the next look goes on from.
        cursor: the cumulative counts after it.
    """

    sequence: int
    version: str
    decision: Decision
    alerts: tuple[tuple[str, str], ...]
    evidence: bytes
    cursor: Counts


class SupersededError(Exception):
    """Somebody else changed the rollout or recorded a look first: read again and look again."""


class EndedError(Exception):
    """The rollout takes no look and no transition any more."""


class RefusedError(Exception):
    """The Registry does not carry the action out now (too few Workers are ready, say); the message says why."""


class UnreachableError(Exception):
    """The Registry cannot be reached; the message says why."""


class DeniedError(UnreachableError):
    """The Registry answers, and does not let this Evaluator do its work; the message says why."""


class Registry(Protocol):
    """The Registry. Every method raises UnreachableError while it is away."""

    async def live_rollouts(self) -> Sequence[RolloutView]:
        """Rollouts that have not ended."""

    async def rollout(self, name: str) -> RolloutView:
        """One rollout. Raises EndedError when there is none of that name."""

    async def lane(self, model: str, segment: str) -> LaneView:
        """One lane. Raises EndedError when there is none."""

    async def version(self, model: str, version: str) -> VersionView:
        """One version. Raises EndedError when there is none."""

    def recorded(self, name: str, after: int) -> AsyncIterator[Recorded]:
        """Looks of a rollout after a number, page by page: the windows of weeks don't fit into memory at once."""

    def concluded(self, name: str) -> AsyncIterator[Concluded]:
        """Every look of a rollout that is kept, oldest first, with what it concluded."""

    async def processes(self) -> Sequence[ProcessView]:
        """Routers and Workers whose leases run."""

    async def record(self, name: str, look: Look, policy_hash: str, cursor: Counts, decision: Decision) -> None:
        """Records a look. Raises SupersededError when its number is taken, EndedError when the rollout has ended."""

    async def act(self, rollout: RolloutView, sequence: int, decision: Decision) -> None:
        """Carries out a decision that rests on a look.

        Raises:
            SupersededError: the rollout or its looks have changed since.
            EndedError: the rollout has ended.
            RefusedError: not now.
        """


class Lanes(Protocol):
    """The Registry as lanes without a rollout need it. Every method raises UnreachableError while it is away."""

    async def lanes(self) -> Sequence[tuple[str, LaneView]]:
        """Every lane, with its model's id."""

    async def version(self, model: str, version: str) -> VersionView:
        """One version. Raises EndedError when there is none."""

    async def processes(self) -> Sequence[ProcessView]:
        """Routers and Workers whose leases run."""

    async def monitor(self, model: str, segment: str) -> MonitorView:
        """How a lane is watched, and what to go on from. Raises EndedError when there is no such lane."""

    async def record_monitor(self, model: str, segment: str, record: MonitorRecord) -> None:
        """Records a look. Raises SupersededError when its number is taken or another version is stable."""

    async def undo(self, model: str, lane: LaneView, sequence: int, reason: str) -> None:
        """Makes the version before stable again, by a look. Raises SupersededError, RefusedError (not now)."""


class Traces(Protocol):
    """Where traces of versions under test are kept."""

    async def of(self, processes: Sequence[ProcessView], terms: Terms) -> tuple[str, ...]:
        """A few trace ids of the test version, hex, failures first; none where none can be had."""


class MetricsSource(Protocol):
    """Where cumulative counts come from."""

    def age(self, terms: Terms) -> float:
        """Seconds that counts may be old when they are read; 0: they are of that moment."""

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        """Reads every process at once; those that fail within `timeout` seconds give a reading without series."""


class OwnSource(MetricsSource, Protocol):
    """One that has the user's own counts beside those of the processes."""

    async def earlier(self, terms: Terms, seconds: float, timeout: float) -> Sequence[Reading]:
        """The user's own counts as they stood so many seconds ago."""
