"""What a look concludes, and in which circumstances."""

from dataclasses import dataclass, field
from enum import StrEnum

from evaluator.verdict.readiness import Worker
from evaluator.verdict.reports import DriftReport, GateReport, Verdict

RULES = 7
"""By which rules a look concludes, recorded with it: by 0 nothing was asked of the slowest batches, nor of how many
looks a period had; by 0 and 1 nothing of how many labels were of a gate's class; by all before 3 what a clock was
set forward passed for time that was waited; by all before 4 what the last period's end asks for was what the first
judged look had found, whatever stable's rate and the share have been since, and nothing was asked of the sums; by
all before 5 one arm's answers could lack as many labels as `max_coverage_gap` says, whichever those were; by all
before 6 the last period's end passed what was within its safe margin in sum, however near; and by all before 7 up to
a tenth of the rows that a SHADOW step mirrors could have no pair, whichever those were, nobody asked before a
promotion whether the version had just begun to fail, and by key labels could reach both arms as unlike as before 5."""


class Phase(StrEnum):
    """Where a rollout stands, as far as looks care."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED_BY_PERSON = "paused_by_person"
    PAUSED_BY_DRIFT = "paused_by_drift"

    @property
    def paused(self) -> bool:
        """Whether the plan's clock stands."""
        return self in {Phase.PAUSED_BY_PERSON, Phase.PAUSED_BY_DRIFT}


class Action(StrEnum):
    """What a look does about its conclusion."""

    NONE = ""
    PROMOTE = "promote"
    ADVANCE = "advance"
    PAUSE = "pause"
    RESUME = "resume"
    ROLLBACK = "rollback"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a look knows besides the evidence.

    Attributes:
        phase: where the rollout stands.
        now: seconds since 1970-01-01 UTC.
        elapsed: seconds that the step has run, without pauses.
        workers: every Worker, and what it serves of the model.
        holds: why nothing may be concluded in the version's favour, as sentence parts.
        approval_missing: a person is to agree to the promotion, and nobody has yet.
        rules: by which it is concluded.
    """

    phase: Phase
    now: float
    elapsed: float = 0.0
    workers: tuple[Worker, ...] = ()
    holds: tuple[str, ...] = ()
    approval_missing: bool = False
    rules: int = RULES


@dataclass(frozen=True, slots=True)
class Decision:
    """The conclusion of one look.

    Attributes:
        action: what follows.
        verdict: on the rollout.
        code: UPPER_SNAKE, for Outcome.code; empty: the rollout goes on.
        reason: one sentence for people.
        gate: the gate that decided; empty: none alone.
        gates: every gate.
        drift: the inputs.
        at: the circumstances that it was concluded in; None: in none, for it rests on no evidence.
        pairs: mirrored rows so far, those that the versions answered otherwise, and those with a label.
        trace_ids: a few traces of the version, hex.
    """

    action: Action
    verdict: Verdict
    reason: str
    code: str = ""
    gate: str = ""
    gates: tuple[GateReport, ...] = ()
    drift: DriftReport = field(default_factory=DriftReport)
    at: Circumstances | None = None
    pairs: tuple[int, int, int] = (0, 0, 0)
    trace_ids: tuple[str, ...] = ()

    @property
    def holds(self) -> tuple[str, ...]:
        """What is in the way."""
        return self.at.holds if self.at is not None else ()
