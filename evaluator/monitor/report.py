"""What a look at a lane found: for the record, for people, and as alerts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evaluator import words
from evaluator.evidence.inputs import ArmInputs
from evaluator.gates.distributions import RATIO
from evaluator.monitor.outputs import OUTPUTS
from evaluator.monitor.past import ENOUGH
from evaluator.monitor.values import VALUES
from evaluator.monitor.watch import INPUTS, Watch
from evaluator.monitor.watched import ALPHA_ENDED, Watched
from evaluator.statistics.confusion import f1_from_unlike
from evaluator.statistics.process import log_threshold
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.figures import ArmFigures
from evaluator.verdict.reports import DriftReport, Evidence, GateReport, Verdict, drift_evidence
from evaluator.window.readings import Problem
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit
from services.common.telemetry.bounds import ERROR_BOUNDS

_SHOWN = 5
_COUNTED: Final = {
    MetricKind.ERRORS: "attempts",
    MetricKind.RUNTIME: "batches of one size",
    MetricKind.ACCURACY: "rows with complete labels",
    MetricKind.F1: "rows with complete labels of its class",
    MetricKind.ABSOLUTE_ERROR: "rows with complete labels",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that stands out: by which gate, and why in one sentence."""

    gate: str
    reason: str


def alerts(watch: Watch) -> tuple[Alert, ...]:
    """What stands out now."""
    found = [Alert(one.metric.value, _beyond(watch, one)) for one in _by_metric(watch) if one.alert]
    if watch.inputs is not None and watch.inputs.test.drifted:
        found.append(
            Alert(INPUTS, f"the inputs of {watch.terms.test} drifted from its reference profile{_most(watch.inputs)}")
        )
    if watch.outputs is not None and watch.outputs.test.drifted:
        found.append(
            Alert(OUTPUTS, f"{watch.terms.test} answers classes in other shares than before{_most(watch.outputs)}")
        )
    if watch.values is not None and watch.values.test.drifted:
        found.append(
            Alert(VALUES, f"what callers report of {watch.terms.test} is other than before{_off(watch.values)}")
        )
    return tuple(found)


def decision(watch: Watch, problems: Sequence[Problem] = (), gap: float = 0.0) -> Decision:
    """The look's conclusion, as it is recorded: nothing is done by it.

    Args:
        watch: after the look.
        problems: processes that could not be read.
        gap: seconds that the look left out; 0: none.
    """
    standing = alerts(watch)
    if standing:
        reason = "; ".join(alert.reason for alert in standing)
    elif watch.learning:
        left = watch.learn - (watch.steady - watch.since) if watch.since else watch.learn
        reason = f"learns what {watch.terms.test} is like, for {words.duration(left)} more"
    else:
        reason = f"nothing stands out in {watch.terms.test}{_unwatched(watch)}"
    if gap:
        reason += f"; what was counted in a gap of {words.duration(gap)} is left out"
    if problems:
        first, others = problems[0], len(problems) - 1
        also = f", and {others} more" if others else ""
        reason += f"; {first.instance_id} was not read ({first.reason}){also}"
    verdict = Verdict.FAIL if standing else Verdict.CONTINUE
    gates = (*map(_report, _by_metric(watch)), *_distributions(watch))
    return Decision(Action.NONE, verdict, reason, gates=gates, drift=_drift(watch))


def _by_metric(watch: Watch) -> list[Watched]:
    """Each metric once: of runtimes the batch size that is furthest on its way to an alert."""
    found: dict[MetricKind, Watched] = {}
    for one in watch.watched:
        other = found.get(one.metric)
        if other is None or (one.alert, one.harm.log_e) > (other.alert, other.harm.log_e):
            found[one.metric] = one
    return list(found.values())


def _unwatched(watch: Watch) -> str:
    parts = []
    for metric in watch.unwatched:
        have, enough = watch.past.counted(metric, watch.alike.careful), ENOUGH[metric]
        if have < enough:
            parts.append(f"{metric} is not watched yet: its past has {have:,} of {enough:,} {_COUNTED[metric]}")
        elif metric is MetricKind.RUNTIME and any(map(watch.learns_size, watch.unwatched_sizes)):
            parts.append(f"{metric} is not watched yet: its past is still learnt")
        else:
            parts.append(f"{metric} is not watched: what its past is like leaves nothing to exceed")
    return "".join(f"; {part}" for part in parts)


def _report(one: Watched) -> GateReport:
    n, value = one.seen
    seen, past, limit = (_shown(one.metric, each) for each in (value, one.past.value, one.past.limit))
    bad = 0 if one.metric is MetricKind.RUNTIME else round(sum(row[1] for row in one.recent))
    difference = (seen / limit - 1.0 if one.metric is MetricKind.RUNTIME else seen - limit) if n else 0.0
    return GateReport(
        gate=one.metric.value,
        metric=one.metric,
        verdict=Verdict.FAIL if one.alert else Verdict.PASS,
        required=False,
        test=ArmFigures(n, bad, seen if n else 0.0),
        baseline=ArmFigures(one.past.n, 0, past),
        difference=difference,
        low=float("nan"),
        high=float("nan"),
        harm=Evidence(one.harm.log_e, one.bar),
        safe=Evidence(one.safe.log_e, log_threshold(ALPHA_ENDED)),
        limit=_limit(one.metric, limit),
    )


def _distributions(watch: Watch) -> list[GateReport]:
    """What is watched as a whole distribution: the largest shift of a share against the past's is its figure."""
    found = ((OUTPUTS, MetricKind.CLASS_BALANCE, watch.outputs), (VALUES, MetricKind.VALUE, watch.values))
    return [_distribution(name, metric, arm) for name, metric, arm in found if arm is not None]


def _distribution(name: str, metric: MetricKind, arm: ArmInputs) -> GateReport:
    # Of what is nearest to what is allowed of it, or furthest beyond.
    bounds = arm.test.reference.bounds.tolist()
    of_each = [(shift, bound) for (_, shift), bound in zip(arm.shifts(), bounds, strict=False)]
    shift, allowed = max(of_each, key=lambda one: one[0] - one[1], default=(0.0, max(bounds)))
    drifted, evidence = arm.test.drifted, drift_evidence(arm)
    return GateReport(
        gate=name,
        metric=metric,
        verdict=Verdict.FAIL if drifted else Verdict.PASS,
        required=False,
        test=ArmFigures(arm.rows, 0, shift),
        baseline=ArmFigures(arm.profile.rows, 0, 0.0),
        difference=shift - allowed if arm.rows else 0.0,
        low=float("nan"),
        high=float("nan"),
        # Of a drift the evidence is of its end.
        harm=Evidence(0.0, evidence.bar) if drifted else evidence,
        safe=evidence if drifted else Evidence(0.0, evidence.bar),
        limit=Limit(at_most=allowed),
    )


def _shown(metric: MetricKind, value: float) -> float:
    """A figure in the unit that reports have it in: of F1, what is missing to 1."""
    return 1.0 - f1_from_unlike(value) if metric is MetricKind.F1 and not math.isnan(value) else value


def _limit(metric: MetricKind, value: float) -> Limit:
    if metric is MetricKind.RUNTIME:
        return Limit(seconds=value)
    at_most = metric in (MetricKind.ERRORS, MetricKind.ABSOLUTE_ERROR)
    return Limit(at_most=value) if at_most else Limit(at_least=1.0 - value)


def _beyond(watch: Watch, one: Watched) -> str:
    version, (n, value), known = watch.terms.test, one.seen, one.past
    seen, past, limit = (_in_words(one.metric, each) for each in (value, known.value, known.limit))
    # What the limit begins at, where that is the peak of a past that swung.
    past += f" ({_in_words(one.metric, known.peak)} at its worst)" if known.peak else ""
    match one.metric:
        case MetricKind.RUNTIME:
            return (
                f"{version}'s batches of {'1 row' if one.size == 1 else f'up to {one.size} rows'} took a mean of "
                f"{seen} lately ({words.many(n, 'batch')}); at most {limit} is allowed by its own past of {past}"
            )
        case MetricKind.ERRORS:
            return (
                f"{version} failed {seen} of {words.many(n, 'attempt')} lately; "
                f"{limit} is allowed by its own past of {past}"
            )
        case MetricKind.ABSOLUTE_ERROR:
            return (
                f"{version} was off by more than {ERROR_BOUNDS[known.cut]:.3g} on {seen} of "
                f"{words.many(n, 'label')} lately; {limit} is allowed: half of its own past's were off "
                f"by less than {ERROR_BOUNDS[known.cut] / RATIO**2:.3g}"
            )
        case MetricKind.F1:
            return (
                f"{version}'s F1 was {seen} lately ({words.many(n, 'row')}); "
                f"at least {limit} is asked for by its own past of {past}"
            )
        case _:
            return (
                f"{version} was wrong on {seen} of {words.many(n, 'label')} lately; "
                f"{limit} is allowed by its own past of {past}"
            )


def _in_words(metric: MetricKind, value: float) -> str:
    shown = _shown(metric, value)
    match metric:
        case MetricKind.RUNTIME:
            return words.runtime(shown)
        case MetricKind.F1:
            return f"{1 - shown:.3f}"
        case _:
            return words.percent(shown)


def _most(arm: ArmInputs) -> str:
    named = ", ".join(f"{one.name} by {words.points(one.shift)}" for one in arm.most_moved(3) if one.shift > 0)
    return f" (most: {named})" if named else ""


def _off(arm: ArmInputs) -> str:
    """By how much: `value` is the only feature, and needs no name."""
    shift = max((shift for _, shift in arm.shifts()), default=0.0)
    return f": {words.points(shift)} of them lie elsewhere" if shift > 0 else ""


def _drift(watch: Watch) -> DriftReport:
    arm = watch.inputs
    if arm is None:
        return DriftReport()
    return DriftReport(
        stable_drifted=arm.test.drifted,
        stable_rows=arm.rows,
        stable=drift_evidence(arm),
        features=tuple(arm.most_moved(_SHOWN)),
    )
