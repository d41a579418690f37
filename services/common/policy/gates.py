"""The gates of a policy: the default ones of a task, and those that were asked for with what they left out."""

import math
from collections import Counter
from dataclasses import replace
from typing import Final

from services.common.policy.drafts import GateDraft
from services.common.policy.gate_rules import CLASSIFICATION, REGRESSION, check_gate, is_weight
from services.common.policy.metrics import CLASS_METRICS, EACH_CLASS, QUALITY_METRICS, MetricKind, judged_by_key
from services.common.policy.records import (
    DEFAULT_HARM,
    DEFAULT_SAFE,
    DEFAULT_WEIGHT,
    Gate,
    GateMargin,
    Meaning,
    Need,
    Objective,
    Violation,
)
from services.common.telemetry import catalog

_LEAST_SHARE: Final = 1e-9
"""Of the rollback error, that a gate may have: with none it could not be judged."""


def default_gates(meaning: Meaning, *, sticky: bool = False) -> tuple[Gate, ...]:
    """The gates of a policy that asks for none.

    Args:
        meaning: of the version's answers.
        sticky: requests are assigned by key: gates that can't be judged then are watched, and labels are by accuracy.
    """
    needs = {MetricKind.ERRORS: Need.ALWAYS, MetricKind.RUNTIME: Need.ALWAYS}
    if meaning.task == CLASSIFICATION:
        one_class = meaning.positive and meaning.most_classes <= catalog.PREDICTED_CLASSES and not sticky
        needs[MetricKind.F1 if one_class else MetricKind.ACCURACY] = Need.WITH_LABELS
    if meaning.task == REGRESSION:
        needs[MetricKind.ABSOLUTE_ERROR] = Need.WITH_LABELS
    needs[MetricKind.INPUT_DRIFT] = Need.NEVER
    if sticky:
        needs = {metric: need if judged_by_key(metric) else Need.NEVER for metric, need in needs.items()}
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


def asked_gates(
    drafts: tuple[GateDraft, ...], meaning: Meaning, objective: Objective
) -> tuple[tuple[Gate, ...], tuple[Violation, ...]]:
    """The gates that were asked for, their defaults filled in and the rollback error shared out; and what is wrong.

    Args:
        drafts: at least one.
        meaning: of the version's answers.
        objective: what the version must show.
    """
    found: list[Violation] = []
    kinds = Counter(_kind(draft.metric) for draft in drafts)
    # Once for all gates: a version may have a hundred thousand classes.
    declared = frozenset(draft.positive or meaning.positive for draft in drafts).intersection(meaning.classes or ())
    names: set[str] = set()
    weighted: list[tuple[str, Gate, float]] = []
    for number, draft in enumerate(drafts):
        path = f"policy.gates[{number}]"
        if draft.metric is None:
            allowed = ", ".join(metric.upper() for metric in MetricKind)
            found.append(Violation(f"{path}.metric", f"say what the gate watches: one of {allowed}"))
            continue
        if _name(draft) in names:
            found.append(Violation(f"{path}.name", f"{_name(draft)!r} occurs more than once: names are unique"))
        names.add(_name(draft))
        found += check_gate(path, draft, draft.metric, meaning, objective, declared)
        default = DEFAULT_WEIGHT[draft.metric] / kinds[_kind(draft.metric)]
        given = draft.weight if is_weight(draft.weight) else 0.0
        weight = 0.0 if draft.metric is MetricKind.INPUT_DRIFT else given or default
        weighted.append((path, _gate(draft, draft.metric, meaning), weight))
    total = math.fsum(weight for *_, weight in weighted)
    found += [
        Violation(
            f"{path}.weight",
            f"{weight:g} is too little beside all gates' {total:g}: {_LEAST_SHARE:g} of it is the least",
        )
        for path, _, weight in weighted
        if 0 < weight < _LEAST_SHARE * total
    ]
    if not any(gate.need is not Need.NEVER for _, gate, _ in weighted):
        found.append(
            Violation("policy.gates", "no gate is required, so nothing would have to be shown: require at least one")
        )
    gates = tuple(replace(gate, share=weight / total if total > 0 else 0.0) for _, gate, weight in weighted)
    return gates, tuple(found)


def with_primary(gates: tuple[Gate, ...]) -> tuple[tuple[Gate, ...], tuple[Violation, ...]]:
    """The gates of an A/B test: one of them is primary, and required; and what is wrong."""
    said = [number for number, gate in enumerate(gates) if gate.better is not None]
    chosen = said or [number for number, gate in enumerate(gates) if _may_be_primary(gate)]
    if len(chosen) != 1:
        problem = "more than one gate is primary" if len(said) > 1 else "say which gate is primary"
        return gates, (Violation("policy.gates", f"{problem}: SUPERIOR needs one metric to be better in"),)
    number = chosen[0]
    if gates[number].metric is MetricKind.CLASS_BALANCE:
        return gates, (Violation(f"policy.gates[{number}].primary", "no version is better in class_balance"),)
    primary = replace(gates[number], need=Need.ALWAYS, better=gates[number].better or GateMargin())
    return (*gates[:number], primary, *gates[number + 1 :]), ()


def _may_be_primary(gate: Gate) -> bool:
    """Whether a gate is the primary one where none is said to be: one that is of all callers, as those must be."""
    if gate.segment or gate.positive == EACH_CLASS or gate.limit is not None:
        return False
    return gate.metric in QUALITY_METRICS and gate.need is not Need.NEVER


def check_by_key(gates: tuple[Gate, ...]) -> tuple[tuple[Gate, ...], tuple[Violation, ...]]:
    """Gates where requests are assigned by key: those that nobody can judge are watched; and those that were required.

    What must be better stays required, and then nothing wins.
    """
    unjudged = [gate for gate in gates if not judged_by_key(gate.metric, gate.above, gate.segment)]
    watched = tuple(replace(gate, need=Need.NEVER) if gate in unjudged and not gate.better else gate for gate in gates)
    wrong = tuple(
        Violation(f"policy.gates[{number}]", f"{gate.name} {_UNJUDGED}")
        for number, gate in enumerate(gates)
        if gate in unjudged and gate.need is not Need.NEVER
    )
    return watched, wrong


_UNJUDGED: Final = (
    "can't be judged where requests are assigned by key (errors, accuracy and values above 0 can, of all callers): "
    "watch it without required and primary, or assign by request"
)


def _gate(draft: GateDraft, metric: MetricKind, meaning: Meaning) -> Gate:
    better = (draft.better or GateMargin()) if draft.primary else None
    safe = draft.safe or DEFAULT_SAFE[metric]
    if metric is MetricKind.RUNTIME and not safe.offset:
        # Whoever says how much slower batches may be at the median has said nothing of the slowest ones.
        safe = replace(safe, offset=DEFAULT_SAFE[metric].offset)
    return Gate(
        name=_name(draft),
        metric=metric,
        need=Need.ALWAYS if draft.required or draft.primary else Need.NEVER,
        harm=draft.harm or DEFAULT_HARM[metric],
        safe=safe,
        share=0.0,
        positive=(draft.positive or meaning.positive) if metric in CLASS_METRICS else "",
        limit=draft.limit,
        better=better,
        above=draft.above,
        bad_query=draft.bad_query,
        total_query=draft.total_query,
        segment=draft.segment,
    )


def _kind(metric: MetricKind | None) -> MetricKind | None:
    """Metrics of one kind share its part of the rollback error: all that are about quality are one."""
    return MetricKind.ACCURACY if metric in QUALITY_METRICS else metric


def _name(draft: GateDraft) -> str:
    if draft.name or draft.metric is None:
        return draft.name
    name = f"{draft.metric.value} limit" if draft.limit is not None else draft.metric.value
    return f"{name} in {draft.segment}" if draft.segment else name
