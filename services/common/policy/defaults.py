"""From what was asked for to what is judged by: fills in defaults, finds violations."""

from dataclasses import replace
from typing import Final

from services.common.policy.drafts import PlanDraft, PolicyDraft, StepDraft
from services.common.policy.gates import asked_gates, check_by_key, default_gates, with_primary
from services.common.policy.metrics import PAIRED_METRICS, shown_in
from services.common.policy.records import (
    LabelMaturity,
    Meaning,
    Need,
    Objective,
    PeriodEnd,
    Plan,
    Policy,
    Step,
    Violation,
)

_DAY: Final = 86_400.0
_SHORTEST_LOOK: Final = 0.05
_SHORTEST_PERIOD: Final = 1e-3
_LONGEST_PERIOD: Final = 366 * _DAY
_HIGHEST_POWER: Final = 0.9999
_WIDEST_DRIFT: Final = 0.999
_STALE_LOOKS: Final = 3
_ALL_BPS: Final = 10_000
_LEAST_KEYED: Final = 50
_KEYED_SHARES: Final = "keys are compared by cohorts, so that each arm needs 50 basis points (0.5 %) at least"


def complete_plan(
    draft: PlanDraft, objective: Objective = Objective.NON_INFERIOR
) -> tuple[Plan, tuple[Violation, ...]]:
    """The plan with its defaults, and what is wrong with it.

    Args:
        draft: what was asked for.
        objective: what the version must show.
    """
    if not draft.steps:
        return Plan(), ()
    found: list[Violation] = []
    if objective is Objective.SUPERIOR and len(draft.steps) > 1:
        found.append(Violation("plan.steps", f"are {len(draft.steps)}: an A/B test (SUPERIOR) has one step"))
    before = StepDraft(0, shadow=True)
    for number, step in enumerate(draft.steps):
        found += _step_violations(f"plan.steps[{number}]", step, before)
        before = step
    if objective is Objective.SUPERIOR and any(step.shadow for step in draft.steps):
        found.append(Violation("plan.steps", "an A/B test (SUPERIOR) is of answers that callers get: its step is LIVE"))
    steps = tuple(
        Step(
            share_bps=step.share_bps,
            min_duration=_or(step.min_duration, 0.0),
            period=_or(step.period, 3600.0),
            shadow=step.shadow,
        )
        for step in draft.steps
    )
    return Plan(steps), tuple(found)


def complete_policy(
    draft: PolicyDraft, meaning: Meaning, objective: Objective = Objective.NON_INFERIOR, *, sticky: bool = False
) -> tuple[Policy, tuple[Violation, ...]]:
    """The policy with its defaults, and what is wrong with it.

    Args:
        draft: what was asked for.
        meaning: of the version's answers, which decides on the default gates.
        objective: what the version must show.
        sticky: requests are assigned by key; gates that nobody can judge then come out as watched.
    """
    found: list[Violation] = []
    gates = default_gates(meaning, sticky=sticky)
    if draft.gates:
        gates, wrong = asked_gates(draft.gates, meaning, objective)
        found += wrong
    # Which gates an unknown task has by default is not known either.
    if objective is Objective.SUPERIOR and (draft.gates or meaning.task):
        gates, wrong = with_primary(gates)
        found += wrong
    if sticky:
        gates, wrong = check_by_key(gates)
        found += wrong
    interval = _or(draft.look_interval, 30.0)
    policy = Policy(
        gates=gates,
        look_interval=interval,
        settling=_or(draft.settling, 30.0),
        alpha_rollback=draft.alpha_rollback or 0.01,
        alpha_promote=draft.alpha_promote or 0.05,
        period_end=draft.period_end or PeriodEnd.INCONCLUSIVE,
        power=draft.power or 0.95,
        labels=LabelMaturity(
            min_coverage=draft.min_coverage or 0.5,
            min_age=_or(draft.min_age, 60.0),
            max_coverage_gap=draft.max_coverage_gap or 0.1,
            follows_lag=draft.min_age is None,
            judge_young=draft.judge_young,
        ),
        drift_margin=draft.drift_margin or 0.1,
        stale_after=_or(draft.stale_after, _STALE_LOOKS * interval),
        fresh_instances=draft.fresh_instances or 0.95,
        objective=objective,
    )
    found += _policy_violations(policy)
    # Certainty takes infinitely many requests, and no shift is larger than the largest.
    possible = replace(
        policy, power=min(policy.power, _HIGHEST_POWER), drift_margin=min(policy.drift_margin, _WIDEST_DRIFT)
    )
    return possible, tuple(found)


def check_together(policy: Policy, plan: Plan, *, sticky: bool = False) -> tuple[Violation, ...]:
    """What is wrong with a policy beside a plan: gates that none of its steps can show, and shares of too few keys."""
    modes = {step.shadow for step in plan.steps}
    found = [
        Violation(f"policy.gates[{number}].metric", f"{gate.metric} is of SHADOW steps, and the plan has none")
        for number, gate in enumerate(policy.gates)
        if gate.metric in PAIRED_METRICS and True not in modes
    ]
    required = [gate for gate in policy.gates if gate.need is not Need.NEVER]
    if False in modes and required and not any(shown_in(gate.metric, shadow=False) for gate in required):
        found.append(Violation("policy.gates", "no gate is required that a LIVE step can show: require at least one"))
    if sticky:
        found += [
            Violation(f"plan.steps[{number}].share_bps", f"{step.share_bps} is too little by key: {_KEYED_SHARES}")
            for number, step in enumerate(plan.steps)
            if not _LEAST_KEYED <= step.share_bps <= _ALL_BPS - _LEAST_KEYED
        ]
    return tuple(found)


def _policy_violations(policy: Policy) -> list[Violation]:
    rules = (
        ("look_interval", policy.look_interval, _SHORTEST_LOOK, _DAY, "0.05 s to 1 d"),
        ("settling", policy.settling, 0.0, _DAY, "0 s to 1 d"),
        ("alpha_rollback", policy.alpha_rollback, 1e-9, 0.5, "above 0, up to 0.5"),
        ("alpha_promote", policy.alpha_promote, 1e-9, 0.5, "above 0, up to 0.5"),
        ("power", policy.power, 0.5, 1.0, "0.5 to 1"),
        ("labels.min_coverage", policy.labels.min_coverage, 0.0, 1.0, "0 to 1"),
        ("labels.min_age", policy.labels.min_age, 0.0, _LONGEST_PERIOD, "0 s to 366 d"),
        ("labels.max_coverage_gap", policy.labels.max_coverage_gap, 0.0, 1.0, "0 to 1"),
        ("drift_margin", policy.drift_margin, 1e-9, 1.0, "above 0, up to 1"),
        ("stale_after", policy.stale_after, policy.look_interval, _LONGEST_PERIOD, "at least one look_interval"),
        ("fresh_instances", policy.fresh_instances, 0.0, 1.0, "0 to 1"),
    )
    # `not low <= value <= high` is true of NaN too.
    return [
        Violation(f"policy.{name}", f"{value:g} is out of range: {allowed}")
        for name, value, low, high, allowed in rules
        if not low <= value <= high
    ]


def _step_violations(path: str, step: StepDraft, before: StepDraft) -> list[Violation]:
    found: list[Violation] = []
    if step.shadow and not before.shadow:
        found.append(Violation(f"{path}.mode", "is SHADOW after a LIVE step: what callers get already is not mirrored"))
    if step.share_bps == _ALL_BPS:
        found.append(
            Violation(
                f"{path}.share_bps",
                "at 100 % nothing is left to compare with: leave the step out, since promotion moves all traffic",
            )
        )
    elif not 1 <= step.share_bps < _ALL_BPS:
        found.append(
            Violation(f"{path}.share_bps", f"{step.share_bps} is out of range: 1 to 9999 basis points (500 is 5 %)")
        )
    elif step.shadow is before.shadow and step.share_bps < before.share_bps:
        share, least = (f"{bps} basis points ({bps / 100:g} %)" for bps in (step.share_bps, before.share_bps))
        said = f"{share} is less than the step before has, {least}"
        found.append(Violation(f"{path}.share_bps", said))
    period, shortest = _or(step.period, 3600.0), _or(step.min_duration, 0.0)
    if not _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD:
        found.append(Violation(f"{path}.period", f"{period:.10g} s is out of range: 1 ms to 366 d"))
    elif not 0.0 <= shortest <= period:
        found.append(
            Violation(
                f"{path}.min_duration",
                f"{shortest:.10g} s is out of range: 0 s to the step's period, {period:.10g} s",
            )
        )
    return found


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
