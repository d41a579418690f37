"""What a gate may ask for: every rule that one gate can break by itself."""

import math
from typing import Final

from crossfade.names import is_id, no_id
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import (
    BUCKET_METRICS,
    CLASS_METRICS,
    EACH_CLASS,
    MORE_IS_BETTER,
    SEGMENT_METRICS,
    MetricKind,
)
from services.common.policy.records import DEFAULT_HARM, DEFAULT_SAFE, GateMargin, Limit, Meaning, Objective, Violation
from services.common.telemetry import catalog
from services.common.telemetry.bounds import VALUE_BOUNDS

CLASSIFICATION: Final = "classification"
"""The task whose answers are classes, and right or wrong."""
REGRESSION: Final = "regression"
"""The task whose answers are numbers, and off by so much."""

_HEAVIEST: Final = 1e9
_MOST_BUCKETS: Final = 40
_LONGEST_QUERY: Final = 2_000
_CLASSES_NAMED: Final = 20
_LEAST_RATE: Final = 1e-12
"""Of a limit, and what a margin leaves of 1: less cannot be told from nothing, and no gate could judge by it."""
_SHORTEST_LIMIT: Final = 1e-4
_LONGEST_LIMIT: Final = 9.0
"""Seconds; runtimes beyond 10 s are not told apart."""
_NO_LIMIT: Final = frozenset({MetricKind.INPUT_DRIFT, MetricKind.CLASS_BALANCE, MetricKind.PAIRED_ACCURACY})
_OFFSET_ONLY: Final = frozenset({MetricKind.F1, MetricKind.CLASS_BALANCE, MetricKind.PAIRED_ACCURACY})


def check_gate(
    path: str,
    draft: GateDraft,
    metric: MetricKind,
    meaning: Meaning,
    objective: Objective,
    declared: frozenset[str],
) -> list[Violation]:
    """What is wrong with one gate.

    Args:
        path: of the gate, as `policy.gates[1]`.
        draft: as it was asked for.
        metric: what it watches.
        meaning: of the version's answers.
        objective: what the version must show.
        declared: of the classes that the policy's gates name, and the version's positive one, those that it has.
    """
    found: list[Violation] = []
    if not is_weight(draft.weight):
        said = f"{draft.weight:g} is no weight: use 0 (the default) to {_HEAVIEST:,.0f}"
        found.append(Violation(f"{path}.weight", said))
    found += _primary_violations(path, draft, metric, objective)
    if metric is MetricKind.INPUT_DRIFT and draft.required:
        found.append(Violation(f"{path}.required", "a drift of the inputs pauses a rollout; it can't be required"))
    if draft.limit is not None:
        found += _limit_violations(f"{path}.limit", draft.limit, metric)
        if draft.harm is not None or draft.safe is not None:
            found.append(
                Violation(path, "a gate with a limit is judged by that number and has no margins: drop harm and safe")
            )
    elif metric is MetricKind.DISAGREEMENT:
        found.append(Violation(f"{path}.limit", "disagreement is no comparison: say at most how much, at_most: 5%"))
    elif metric is not MetricKind.INPUT_DRIFT:
        found += _sides_violations(path, draft, metric)
    found += _query_violations(path, draft, metric)
    found += _above_violations(f"{path}.above", draft, metric)
    found += _segment_violations(f"{path}.segment", draft, metric)
    found += _task_violations(f"{path}.metric", metric, meaning)
    return found + _class_violations(f"{path}.positive_class", draft, metric, meaning, declared)


def is_weight(number: float) -> bool:
    """Whether a gate may have this weight; those of all gates can be added up."""
    return 0 <= number <= _HEAVIEST


def _sides_violations(path: str, draft: GateDraft, metric: MetricKind) -> list[Violation]:
    found: list[Violation] = []
    for side, margin in (("harm", draft.harm), ("safe", draft.safe)):
        if margin is not None:
            found += _margin_violations(f"{path}.{side}", margin, metric, tail=side == "safe")
    harm, safe = draft.harm or DEFAULT_HARM[metric], draft.safe or DEFAULT_SAFE[metric]
    # A runtime's offset is of its slowest batches alone.
    offset = 0.0 if metric is MetricKind.RUNTIME else safe.offset
    if safe.buckets == 0 and offset == 0 and safe.factor <= 1:
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


_ONLY_SUPERIOR: Final = "is for SUPERIOR (--objective superior), in which the version must be better in one metric"


def _primary_violations(path: str, draft: GateDraft, metric: MetricKind, objective: Objective) -> list[Violation]:
    if not draft.primary:
        unused = draft.better is not None
        return [Violation(f"{path}.better", "is for the primary gate: add primary: true")] if unused else []
    if objective is not Objective.SUPERIOR:
        return [Violation(f"{path}.primary", _ONLY_SUPERIOR)]
    if metric in _NO_LIMIT:
        return [Violation(f"{path}.primary", f"no version is better in {metric}")]
    if draft.limit is not None:
        return [Violation(f"{path}.primary", "a gate with a limit compares with no version: choose another")]
    if draft.positive == EACH_CLASS:
        return [Violation(f"{path}.primary", "one metric is primary, and '*' are as many as there are classes")]
    better = draft.better or GateMargin()
    if better.factor != 1:
        return [Violation(f"{path}.better.factor", "it is an offset, or buckets for runtimes")]
    return _margin_violations(f"{path}.better", better, metric)


def _limit_violations(path: str, limit: Limit, metric: MetricKind) -> list[Violation]:
    if metric in _NO_LIMIT:
        return [Violation(path, f"{metric} is a comparison, and has no limit")]
    if metric is MetricKind.ABSOLUTE_ERROR:
        return [Violation(path, "absolute_error is a comparison: its unit is that of what is predicted")]
    if metric is MetricKind.RUNTIME:
        return _duration_violations(path, limit)
    wanted = "at_least" if metric in MORE_IS_BETTER else "at_most"
    value = limit.at_least if metric in MORE_IS_BETTER else limit.at_most
    if value is None:
        return [Violation(path, f"the limit of {metric} is given as {wanted}")]
    found = [Violation(f"{path}.quantile", "is for runtimes")] if limit.quantile else []
    if not _LEAST_RATE <= value < 1.0:
        said = f"{value:g} is out of range: above 0 and below 1, {_LEAST_RATE:g} at least (0.9 is 90 %)"
        found.append(Violation(f"{path}.{wanted}", said))
    return found


def _duration_violations(path: str, limit: Limit) -> list[Violation]:
    found: list[Violation] = []
    if limit.seconds is None:
        return [Violation(path, "the limit of runtime is given as duration: 20ms")]
    if not _SHORTEST_LIMIT <= limit.seconds <= _LONGEST_LIMIT:
        found.append(Violation(f"{path}.duration", f"{limit.seconds:g} s is out of range: 0.1 ms to 9 s"))
    if limit.quantile and not _LEAST_RATE <= limit.quantile < 1.0:
        said = f"{limit.quantile:g} is out of range: above 0 and below 1, {_LEAST_RATE:g} at least, or 0 for the mean"
        found.append(Violation(f"{path}.quantile", said))
    return found


def _query_violations(path: str, draft: GateDraft, metric: MetricKind) -> list[Violation]:
    queries = (("bad_query", draft.bad_query), ("total_query", draft.total_query))
    if metric is not MetricKind.CUSTOM:
        said = f"is for custom, and this gate watches {metric}"
        return [Violation(f"{path}.{name}", said) for name, query in queries if query]
    found = []
    for name, query in queries:
        if not query.strip():
            found.append(Violation(f"{path}.{name}", "say by which PromQL counts per version are asked for"))
        elif len(query) > _LONGEST_QUERY:
            said = f"has {len(query)} characters; at most {_LONGEST_QUERY} are taken"
            found.append(Violation(f"{path}.{name}", said))
    return found


def _above_violations(path: str, draft: GateDraft, metric: MetricKind) -> list[Violation]:
    if metric is not MetricKind.VALUE:
        return [Violation(path, f"is for value, and this gate watches {metric}")] if draft.above else []
    if draft.above in VALUE_BOUNDS:
        return []
    bounds = sorted(VALUE_BOUNDS, key=lambda bound: abs(bound - draft.above))[:2]
    near = " or ".join(f"{bound:g}" for bound in sorted(bounds))
    return [Violation(path, f"{draft.above:g} is none of the bounds that numbers are counted by: write {near}")]


def _segment_violations(path: str, draft: GateDraft, metric: MetricKind) -> list[Violation]:
    if not draft.segment:
        return []
    if metric not in SEGMENT_METRICS:
        allowed = " and ".join(sorted(SEGMENT_METRICS))
        return [Violation(path, f"{allowed} are counted by the caller's segment, and this gate watches {metric}")]
    if not is_id(draft.segment):
        return [Violation(path, no_id(draft.segment, "segment"))]
    return [Violation(path, "the version must be better for all callers: drop segment")] if draft.primary else []


def _task_violations(path: str, metric: MetricKind, meaning: Meaning) -> list[Violation]:
    if metric is MetricKind.VALUE and meaning.task == REGRESSION:
        said = "value is not for a regression: the numbers that are reported for it are what turned out to be true"
        return [Violation(path, said)]
    if metric is MetricKind.PAIRED_ACCURACY and meaning.task not in ("", CLASSIFICATION):
        return [Violation(path, f"{metric} is for a classification, and the model's task is {meaning.task}")]
    if metric is MetricKind.ACCURACY and meaning.task == REGRESSION:
        said = "numbers are neither right nor wrong, and the model's task is regression: use absolute_error"
        return [Violation(path, said)]
    if metric is MetricKind.ABSOLUTE_ERROR and meaning.task not in ("", REGRESSION):
        return [Violation(path, f"{metric} is for a regression, and the model's task is {meaning.task}")]
    return []


def _class_violations(
    path: str, draft: GateDraft, metric: MetricKind, meaning: Meaning, declared: frozenset[str]
) -> list[Violation]:
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
        many = f"{metric} is for up to {catalog.BALANCED_CLASSES} classes, and the model has {len(meaning.classes)}"
        return [Violation(path, f"{many}: use accuracy")] if len(meaning.classes) > catalog.BALANCED_CLASSES else []
    if meaning.most_classes > catalog.PREDICTED_CLASSES and metric is not MetricKind.RECALL:
        counted = f"labels are counted by the predicted class up to {catalog.PREDICTED_CLASSES} classes, and there are"
        recall = "recall or " if meaning.most_classes <= catalog.COUNTED_CLASSES else ""
        return [Violation(path, f"{counted} {meaning.most_classes}: use {recall}accuracy")]
    if meaning.most_classes > catalog.COUNTED_CLASSES:
        counted = f"labels are counted by their class up to {catalog.COUNTED_CLASSES:,} classes, and there are"
        return [Violation(path, f"{counted} {meaning.most_classes:,}: use accuracy")]
    positive = draft.positive or meaning.positive
    if positive == EACH_CLASS or positive in declared:
        return []
    listed = ", ".join(meaning.classes[:_CLASSES_NAMED]) + (", …" if len(meaning.classes) > _CLASSES_NAMED else "")
    problem = f"{positive!r} is no class of the model" if positive else "the model has no positive class"
    return [Violation(path, f"{problem}: say which class counts as positive, one of {listed}, or '*' for each of them")]


def _margin_words(margin: GateMargin) -> str:
    if margin.buckets:
        return f"{margin.buckets} buckets"
    return f"factor {margin.factor:g} and offset {margin.offset:g}"


def _margin_violations(path: str, margin: GateMargin, metric: MetricKind, *, tail: bool = False) -> list[Violation]:
    """What is wrong with a margin; `tail`: of a runtime it says something of the slowest batches too."""
    found: list[Violation] = []
    if metric in BUCKET_METRICS:
        if metric is MetricKind.RUNTIME and tail:
            found += _offset_violations(path, margin)
        if margin.factor != 1 or (margin.offset != 0 and not (metric is MetricKind.RUNTIME and tail)):
            found.append(Violation(path, f"the margin of {metric} is given in buckets (one is 9.05 %)"))
        if not 0 <= margin.buckets <= _MOST_BUCKETS:
            found.append(Violation(f"{path}.buckets", f"{margin.buckets} is out of range: 0 to {_MOST_BUCKETS}"))
        return found
    if margin.buckets:
        found.append(
            Violation(f"{path}.buckets", "buckets are for runtimes and absolute errors: use factor and offset")
        )
    if metric in _OFFSET_ONLY and margin.factor != 1:
        found.append(Violation(f"{path}.factor", f"the margin of {metric} is an offset: 0.01 is one point"))
    if not (math.isfinite(margin.factor) and margin.factor >= 1):
        found.append(Violation(f"{path}.factor", f"{margin.factor:g} is out of range: at least 1"))
    return found + _offset_violations(path, margin)


def _offset_violations(path: str, margin: GateMargin) -> list[Violation]:
    if 0 <= margin.offset < 1 - _LEAST_RATE:
        return []
    said = f"{margin.offset:g} is out of range: 0 to less than 1, as a rate (0.01 is one point)"
    return [Violation(f"{path}.offset", said)]
