"""Whole rollouts without a server: the product's windows, fold and decisions over a fleet's counts."""

from dataclasses import dataclass, field

import numpy as np

from evaluator.evidence.fold import fold
from evaluator.evidence.state import Look, State, start
from evaluator.terms import Terms
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Decision, Phase
from evaluator.window.counts import Counts
from evaluator.window.readings import Reading
from evaluator.window.windows import fresh_share, take
from services.common.policy.defaults import complete_plan, complete_policy
from services.common.policy.drafts import GateDraft, PlanDraft, PolicyDraft, StepDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import SLICES_PER_PERIOD, GateMargin, Meaning, Objective, Plan, Policy
from tests.fakes.inputs import reference
from tests.fakes.metrics import CLASSES, Behaviour, Fleet

DEMO_GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(MetricKind.RUNTIME, required=True),
    GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.03)),
    GateDraft(MetricKind.INPUT_DRIFT),
)


def demo_policy(
    *, objective: Objective = Objective.NON_INFERIOR, task: object = "classification", **changes: object
) -> Policy:
    """The policy of a demo: looks of 2 s, settling 2 s, wide margins."""
    asked: dict[str, object] = {"gates": DEMO_GATES, "look_interval": 2.0, "settling": 2.0, "min_age": 1.0}
    draft = PolicyDraft(**(asked | changes))  # type: ignore[arg-type] # fields by name
    policy, violations = complete_policy(draft, Meaning(str(task), CLASSES), objective)
    assert not violations, violations
    return policy


def demo_plan(*shares: int, period: float = 60.0, min_duration: float = 0.0, shadow: int = 0) -> Plan:
    """A plan of steps of one length; `shadow`: how many of them are SHADOW steps."""
    steps = tuple(StepDraft(share, min_duration, period, shadow=number < shadow) for number, share in enumerate(shares))
    plan, violations = complete_plan(PlanDraft(steps))
    assert not violations, violations
    return plan


def demo_terms(
    policy: Policy | None = None, plan: Plan | None = None, *, features: int = 2, sticky: bool = False
) -> Terms:
    """v2 against v1 of the model digits."""
    return Terms(
        model="digits",
        segment="",
        test="v2",
        stable="v1",
        policy=policy or demo_policy(),
        plan=plan or demo_plan(1000, 5000),
        sticky=sticky,
        test_profile=reference("p2", features) if features else None,
        stable_profile=reference("p1", features) if features else None,
        declared=CLASSES,
    )


@dataclass(slots=True)
class Trial:
    """A rollout carried through look by look.

    Attributes:
        fleet: what is looked at.
        state: the evidence so far.
        looks: all that was recorded.
        decisions: what each look concluded.
        outcome: the decision that ended it; None: it lives.
        started: when its first step began.
    """

    fleet: Fleet
    state: State
    cursor: Counts = ()
    phase: Phase = Phase.WAITING
    step: int = 0
    step_start: float = 0.0
    paused: float = 0.0
    pause_start: float = 0.0
    looks: list[Look] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    outcome: Decision | None = None
    started: float = 0.0

    @classmethod
    def begin(cls, fleet: Fleet, *, waiting_looks: int = 2) -> "Trial":
        """A rollout that has been looked at while it waited, and whose first step begins."""
        trial = cls(fleet, start(fleet.terms))
        for _ in range(waiting_looks):
            trial.look()
        trial.phase = Phase.RUNNING
        trial.started = fleet.now
        trial._enter(0)
        return trial

    def _enter(self, step: int) -> None:
        self.step, self.step_start, self.paused = step, self.fleet.now, 0.0
        self.fleet.share = self.fleet.terms.plan.steps[step].share_bps
        self.fleet.shadow = self.fleet.terms.plan.steps[step].shadow
        self.fleet.slice_seconds = self.fleet.terms.plan.steps[step].period / SLICES_PER_PERIOD
        self.fleet.epoch += 1

    def look(self, *, unreadable: frozenset[str] = frozenset()) -> Decision:
        """One look, and what follows from it."""
        fleet, policy = self.fleet, self.fleet.terms.policy
        fleet.run(policy.look_interval)
        readings = [
            Reading(one.name, round(fleet.now * 1e6), None)
            if one.name in unreadable
            else one.read(fleet.now, fleet.terms)
            for one in fleet.instances
        ]
        taken = take(self.cursor, readings, first=not self.looks)
        settled_for = fleet.now - self.state.epoch_since
        settled = self.state.epoch == fleet.epoch and settled_for >= self.state.settling(self.step)
        judged = self.phase is not Phase.WAITING and settled and bool(taken.window)
        part = 0 if self.phase is Phase.WAITING else fleet.share
        shares = (0, part) if fleet.shadow else (part, min(part, 10_000 - part))
        look = Look(
            sequence=len(self.looks) + 1,
            epoch=fleet.epoch,
            slice_seconds=fleet.slice_seconds,
            step=self.step,
            judged=judged,
            window=taken.window,
            shares=shares,
            time=fleet.now,
            elapsed=self._elapsed(),
        )
        self.cursor = taken.cursor
        self.looks.append(look)
        self.state = fold(self.state, look)
        names = [one.name for one in fleet.instances]
        share = fresh_share(self.cursor, names, fleet.now, policy.stale_after)
        holds = () if share >= policy.fresh_instances else ("metrics are stale",)
        decision = decide(self.state, Circumstances(self.phase, fleet.now, self._elapsed(), holds=holds))
        self.decisions.append(decision)
        self._act(decision)
        return decision

    def _elapsed(self) -> float:
        paused = self.fleet.now - self.pause_start if self.phase.paused else 0.0
        return self.fleet.now - self.step_start - self.paused - paused if self.step_start else 0.0

    def _act(self, decision: Decision) -> None:
        match decision.action:
            case Action.NONE:
                return
            case Action.ADVANCE:
                self._enter(self.step + 1)
            case Action.PAUSE:
                self.phase, self.pause_start = Phase.PAUSED_BY_DRIFT, self.fleet.now
            case Action.RESUME:
                self.phase = Phase.RUNNING
                self.paused += self.fleet.now - self.pause_start
            case Action.PROMOTE | Action.ROLLBACK | Action.CANCEL:
                self.outcome = decision

    def run(self, looks: int, *, unreadable: frozenset[str] = frozenset()) -> Decision | None:
        """Looks until the rollout ends, `looks` times at most."""
        for _ in range(looks):
            self.look(unreadable=unreadable)
            if self.outcome is not None:
                return self.outcome
        return None

    @property
    def seconds(self) -> float:
        """Since the first step began."""
        return self.fleet.now - self.started


def trial(seed: int, terms: Terms | None = None, test: Behaviour | None = None, **fleet: float) -> Trial:
    """A seeded rollout whose first step begins."""
    made = Fleet(terms or demo_terms(), np.random.default_rng(seed), test=test or Behaviour(), **fleet)  # type: ignore[arg-type] # numbers by name
    return Trial.begin(made)
