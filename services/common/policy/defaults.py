"""From what was asked for to what is judged by: fills in defaults, shares the rollback error, finds violations."""

import math
from collections import Counter
from dataclasses import replace
from typing import Final

from services.common.policy.records import (
    CLASS_METRICS,
    DEFAULT_HARM,
    DEFAULT_SAFE,
    DEFAULT_WEIGHT,
    EACH_CLASS,
    QUALITY_METRICS,
    Gate,
    GateDraft,
    GateMargin,
    LabelMaturity,
    Meaning,
    MetricKind,
    Need,
    PeriodEnd,
    Plan,
    PlanDraft,
    Policy,
    PolicyDraft,
    Step,
    StepDraft,
    Violation,
)
from services.common.telemetry import catalog

CLASSIFICATION: Final = "classification"
"""The task whose versions are judged by labels unless the policy says otherwise."""

_DAY: Final = 86_400.0
_SHORTEST_LOOK: Final = 0.05
_SHORTEST_PERIOD: Final = 1e-3
_LONGEST_PERIOD: Final = 366 * _DAY
_HIGHEST_POWER: Final = 0.9999
_WIDEST_DRIFT: Final = 0.999
_MOST_BUCKETS: Final = 40
_STALE_LOOKS: Final = 3
_ALL_BPS: Final = 10_000
_CLASSES_NAMED: Final = 20
_MOST_BALANCED: Final = 100


def complete_plan(draft: PlanDraft) -> tuple[Plan, tuple[Violation, ...]]:
    """The plan with its defaults, and what is wrong with it."""
    if not draft.steps:
        return Plan(), ()
    found: list[Violation] = []
    before = 0
    for number, step in enumerate(draft.steps):
        found += _step_violations(f"plan.steps[{number}]", step, before)
        before = max(before, step.share_bps)
    steps = tuple(
        Step(
            share_bps=step.share_bps,
            min_duration=_or(step.min_duration, 0.0),
            period=_or(step.period, 3600.0),
        )
        for step in draft.steps
    )
    return Plan(steps), tuple(found)


def complete_policy(draft: PolicyDraft, meaning: Meaning) -> tuple[Policy, tuple[Violation, ...]]:
    """The policy with its defaults, and what is wrong with it.

    Args:
        draft: what was asked for.
        meaning: of the version's answers, which decides on the default gates.
    """
    found: list[Violation] = []
    gates = _default_gates(meaning) if not draft.gates else _asked_gates(draft.gates, meaning, found)
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
        ),
        drift_margin=draft.drift_margin or 0.1,
        stale_after=_or(draft.stale_after, _STALE_LOOKS * interval),
        fresh_instances=draft.fresh_instances or 0.95,
    )
    found += _policy_violations(policy)
    # Certainty takes infinitely many requests, and no shift is larger than the largest.
    possible = replace(
        policy, power=min(policy.power, _HIGHEST_POWER), drift_margin=min(policy.drift_margin, _WIDEST_DRIFT)
    )
    return possible, tuple(found)


def _default_gates(meaning: Meaning) -> tuple[Gate, ...]:
    needs = {MetricKind.ERRORS: Need.ALWAYS, MetricKind.RUNTIME: Need.ALWAYS}
    if meaning.task == CLASSIFICATION:
        one_class = meaning.positive and len(meaning.classes or ()) <= catalog.PREDICTED_CLASSES
        needs[MetricKind.F1 if one_class else MetricKind.ACCURACY] = Need.WITH_LABELS
    needs[MetricKind.INPUT_DRIFT] = Need.NEVER
    total = sum(DEFAULT_WEIGHT[metric] for metric in needs)
    return tuple(
        Gate(
            metric.value,
            metric,
            need,
            DEFAULT_HARM[metric],
            DEFAULT_SAFE[metric],
            DEFAULT_WEIGHT[metric] / total,
            meaning.positive if metric in CLASS_METRICS else "",
        )
        for metric, need in needs.items()
    )


def _asked_gates(drafts: tuple[GateDraft, ...], meaning: Meaning, found: list[Violation]) -> tuple[Gate, ...]:
    kinds = Counter(_kind(draft.metric) for draft in drafts)
    names: set[str] = set()
    weighted: list[tuple[Gate, float]] = []
    for number, draft in enumerate(drafts):
        path = f"policy.gates[{number}]"
        if draft.metric is None:
            allowed = ", ".join(metric.upper() for metric in MetricKind)
            found.append(Violation(f"{path}.metric", f"say what the gate watches: one of {allowed}"))
            continue
        if _name(draft) in names:
            found.append(Violation(f"{path}.name", f"{_name(draft)!r} occurs more than once: names are unique"))
        names.add(_name(draft))
        found += _gate_violations(path, draft, draft.metric)
        found += _class_violations(f"{path}.positive_class", draft, draft.metric, meaning)
        gate = Gate(
            name=_name(draft),
            metric=draft.metric,
            need=Need.ALWAYS if draft.required else Need.NEVER,
            harm=draft.harm or DEFAULT_HARM[draft.metric],
            safe=draft.safe or DEFAULT_SAFE[draft.metric],
            share=0.0,
            positive=(draft.positive or meaning.positive) if draft.metric in CLASS_METRICS else "",
        )
        default = DEFAULT_WEIGHT[draft.metric] / kinds[_kind(draft.metric)]
        weighted.append((gate, 0.0 if draft.metric is MetricKind.INPUT_DRIFT else draft.weight or default))
    total = math.fsum(weight for _, weight in weighted)
    if not any(gate.need is not Need.NEVER for gate, _ in weighted):
        found.append(
            Violation("policy.gates", "no gate is required, so nothing would have to be shown: require at least one")
        )
    return tuple(replace(gate, share=weight / total if total > 0 else 0.0) for gate, weight in weighted)


def _kind(metric: MetricKind | None) -> MetricKind | None:
    """Metrics of one kind share its part of the rollback error: all that are about quality are one."""
    return MetricKind.ACCURACY if metric in QUALITY_METRICS else metric


def _name(draft: GateDraft) -> str:
    return draft.name or (draft.metric.value if draft.metric else "")


def _gate_violations(path: str, draft: GateDraft, metric: MetricKind) -> list[Violation]:
    found: list[Violation] = []
    if not (math.isfinite(draft.weight) and draft.weight >= 0):
        found.append(Violation(f"{path}.weight", f"{draft.weight:g} is no weight: use 0 (the default) or more"))
    if metric is MetricKind.INPUT_DRIFT:
        if draft.required:
            found.append(Violation(f"{path}.required", "a drift of the inputs pauses a rollout; it can't be required"))
        return found
    for side, margin in (("harm", draft.harm), ("safe", draft.safe)):
        if margin is not None:
            found += _margin_violations(f"{path}.{side}", margin, metric)
    harm, safe = draft.harm or DEFAULT_HARM[metric], draft.safe or DEFAULT_SAFE[metric]
    if safe.buckets == 0 and safe.offset == 0 and safe.factor <= 1:
        found.append(
            Violation(f"{path}.safe", "no data can show that a version is not worse by nothing: allow a margin")
        )
    if safe.factor < harm.factor or safe.offset < harm.offset or safe.buckets < harm.buckets:
        found.append(
            Violation(
                f"{path}.safe",
                f"it allows {_margin_words(safe)}, which is tighter than harm ({_margin_words(harm)}), so that a "
                "version could be neither: make safe at least as wide, or give both",
            )
        )
    return found


def _class_violations(path: str, draft: GateDraft, metric: MetricKind, meaning: Meaning) -> list[Violation]:
    if draft.positive and metric not in CLASS_METRICS:
        allowed = ", ".join(sorted(CLASS_METRICS))
        return [Violation(path, f"is for {allowed}, and this gate watches {metric}")]
    if not meaning.task or metric not in CLASS_METRICS | {MetricKind.CLASS_BALANCE}:
        return []
    if meaning.task != CLASSIFICATION:
        return [Violation(path, f"{metric} is for a classification, and the model's task is {meaning.task}")]
    if meaning.classes is None:
        return []
    if not meaning.classes:
        return [Violation(path, f"{metric} is for a version that declares classes, and this one has none")]
    if metric is MetricKind.CLASS_BALANCE:
        many = f"{metric} is for up to {_MOST_BALANCED} classes, and the model has {len(meaning.classes)}"
        return [Violation(path, f"{many}: use accuracy")] if len(meaning.classes) > _MOST_BALANCED else []
    if len(meaning.classes) > catalog.PREDICTED_CLASSES and metric is not MetricKind.RECALL:
        counted = f"predictions are counted by class up to {catalog.PREDICTED_CLASSES} classes, and the model has"
        return [Violation(path, f"{counted} {len(meaning.classes)}: use recall or accuracy")]
    positive = draft.positive or meaning.positive
    if positive in (*meaning.classes, EACH_CLASS):
        return []
    listed = ", ".join(meaning.classes[:_CLASSES_NAMED]) + (", …" if len(meaning.classes) > _CLASSES_NAMED else "")
    problem = f"{positive!r} is no class of the model" if positive else "the model has no positive class"
    return [Violation(path, f"{problem}: say which class counts as positive, one of {listed}, or '*' for each of them")]


def _margin_words(margin: GateMargin) -> str:
    if margin.buckets:
        return f"{margin.buckets} buckets"
    return f"factor {margin.factor:g} and offset {margin.offset:g}"


def _margin_violations(path: str, margin: GateMargin, metric: MetricKind) -> list[Violation]:
    found: list[Violation] = []
    if metric is MetricKind.RUNTIME:
        if margin.offset != 0 or margin.factor != 1:
            found.append(Violation(path, "a runtime's margin is given in buckets (one is 9.05 %)"))
        if not 0 <= margin.buckets <= _MOST_BUCKETS:
            found.append(Violation(f"{path}.buckets", f"{margin.buckets} is out of range: 0 to {_MOST_BUCKETS}"))
        return found
    if margin.buckets:
        found.append(Violation(f"{path}.buckets", "buckets are for runtimes: use factor and offset"))
    if metric in (MetricKind.F1, MetricKind.CLASS_BALANCE) and margin.factor != 1:
        found.append(Violation(f"{path}.factor", f"the margin of {metric} is an offset: 0.01 is one point"))
    if not (math.isfinite(margin.factor) and margin.factor >= 1):
        found.append(Violation(f"{path}.factor", f"{margin.factor:g} is out of range: at least 1"))
    if not 0 <= margin.offset < 1:
        found.append(
            Violation(f"{path}.offset", f"{margin.offset:g} is out of range: 0 to 1, as a rate (0.01 is one point)")
        )
    return found


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


def _step_violations(path: str, step: StepDraft, before: int) -> list[Violation]:
    found: list[Violation] = []
    if step.shadow:
        found.append(Violation(f"{path}.mode", "this release carries out LIVE steps only"))
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
    elif step.share_bps < before:
        found.append(Violation(f"{path}.share_bps", f"{step.share_bps} is less than the step before has ({before})"))
    period, least = _or(step.period, 3600.0), _or(step.min_duration, 0.0)
    if not _SHORTEST_PERIOD <= period <= _LONGEST_PERIOD:
        found.append(Violation(f"{path}.period", f"{period:g} s is out of range: 1 ms to 366 d"))
    elif not 0.0 <= least <= period:
        found.append(
            Violation(f"{path}.min_duration", f"{least:g} s is out of range: 0 s to the step's period, {period:g} s")
        )
    return found


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
