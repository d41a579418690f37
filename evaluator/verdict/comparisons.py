"""Both arms' figures side by side, as parts of sentences, and what a gate allows."""

from evaluator import words
from evaluator.evidence.state import State
from evaluator.gates.distributions import RATIO
from evaluator.verdict.reports import GateReport
from services.common.policy.metrics import BUCKET_METRICS, LABEL_METRICS, MetricKind
from services.common.policy.records import GateMargin, Limit


def compared(state: State, report: GateReport) -> str:
    """What a gate counted of both arms."""
    callers = f"for callers in {report.segment} " if report.segment else ""
    return callers + _both(state, report)


def _both(state: State, report: GateReport) -> str:
    test, stable = state.terms.test, state.terms.stable
    match report.metric:
        case MetricKind.RUNTIME if report.limit is not None:
            part = report.limit.quantile
            took = f"{100 * part:g} % of {test}'s batches took at most" if part else f"{test}'s batches took a mean of"
            return f"{took} {words.runtime(report.test.estimate)} ({words.many(report.test.n, 'batch')})"
        case MetricKind.RUNTIME:
            return (
                f"{test}'s batches took {words.runtime(report.test.estimate)} at the median and {stable}'s "
                f"{words.runtime(report.baseline.estimate)} with the same traffic ({words.change(report.difference)})"
                + _tail(report)
            )
        case MetricKind.CLASS_BALANCE:
            return (
                f"{test} answered {report.positive} for {words.percent(report.test.estimate)} of "
                f"{words.many(report.test.n, 'row')} and {stable} for {words.percent(report.baseline.estimate)} of "
                f"{words.count(report.baseline.n)}"
            )
        case MetricKind.DISAGREEMENT:
            return (
                f"{test} answered {words.percent(report.test.estimate)} of {words.many(report.test.n, 'mirrored row')} "
                f"otherwise than {stable}"
            )
        case MetricKind.PAIRED_ACCURACY:
            return (
                f"{test} was wrong on {words.percent(report.test.estimate)} and {stable} on "
                f"{words.percent(report.baseline.estimate)} of the same {words.many(report.test.n, 'mirrored row')}"
            )
        case MetricKind.CUSTOM:
            return (
                f"{words.percent(report.test.estimate)} of {words.many(report.test.n, 'count')} of {test} were bad and "
                f"{words.percent(report.baseline.estimate)} of {words.count(report.baseline.n)} of {stable}"
            )
        case _ if report.metric in LABEL_METRICS:
            return _labelled(test, stable, report)
        case _:
            return (
                f"{test} failed {words.percent(report.test.estimate)} of {words.many(report.test.n, 'attempt')} and "
                f"{stable} {words.percent(report.baseline.estimate)} of {words.count(report.baseline.n)}"
            )


def _tail(report: GateReport) -> str:
    """What the slowest batches took; empty: nobody asks."""
    if report.tail is None or not report.tail.test.n:
        return ""
    test, stable = (words.runtime(one.estimate) for one in (report.tail.test, report.tail.baseline))
    return f", {test} and {stable} at the 99th percentile"


def _labelled(test: str, stable: str, report: GateReport) -> str:
    match report.metric:
        case MetricKind.ABSOLUTE_ERROR:
            return (
                f"{test} was off by {report.test.estimate:.3g} at the median of "
                f"{words.many(report.test.n, 'label')} and {stable} by {report.baseline.estimate:.3g} of "
                f"{words.count(report.baseline.n)} of the same minutes ({words.change(report.difference)})"
            )
        case MetricKind.VALUE:
            return (
                f"{words.percent(1 - report.test.estimate)} of {words.many(report.test.n, 'value')} reported of {test} "
                f"were good and {words.percent(1 - report.baseline.estimate)} of {words.count(report.baseline.n)} of "
                f"{stable} in the same minutes"
            )
        case MetricKind.PRECISION:
            return (
                f"{test} was wrong in {words.percent(report.test.estimate)} of "
                f"{words.many(report.test.n, 'answer')} {report.positive} and {stable} in "
                f"{words.percent(report.baseline.estimate)} of {words.count(report.baseline.n)} of the same minutes"
            )
        case MetricKind.RECALL:
            return (
                f"{test} missed {words.percent(report.test.estimate)} of {words.many(report.test.n, 'row')} that are "
                f"{report.positive} and {stable} {words.percent(report.baseline.estimate)} of "
                f"{words.count(report.baseline.n)} of the same minutes"
            )
        case MetricKind.FALSE_POSITIVE_RATE:
            return (
                f"{test} took {words.percent(report.test.estimate)} of {words.many(report.test.n, 'other row')} for "
                f"{report.positive} and {stable} {words.percent(report.baseline.estimate)} of "
                f"{words.count(report.baseline.n)} of the same minutes"
            )
        case MetricKind.F1:
            return (
                f"{test}'s F1 for {report.positive} was {1 - report.test.estimate:.3f} over "
                f"{words.many(report.test.n, 'row')} and {stable}'s {1 - report.baseline.estimate:.3f} over "
                f"{words.count(report.baseline.n)} of the same minutes"
            )
        case _:
            return (
                f"{test} was wrong on {words.percent(report.test.estimate)} of {words.many(report.test.n, 'label')} "
                f"and {stable} on {words.percent(report.baseline.estimate)} of {words.count(report.baseline.n)} "
                "of the same minutes"
            )


def allowed(report: GateReport, margin: GateMargin) -> str:
    """How much more a gate allows."""
    if report.limit is not None:
        return _limit(report.limit)
    if report.metric in BUCKET_METRICS:
        return f"{words.change(RATIO**margin.buckets - 1.0)} is allowed"
    if report.metric in (MetricKind.F1, MetricKind.VALUE):
        return words.allowed(margin.offset, "less")
    if report.metric is MetricKind.CLASS_BALANCE:
        return words.allowed(margin.offset, "more or less")
    if margin.factor == 1:
        return words.allowed(margin.offset, "more")
    return f"{words.percent(margin.offset + margin.factor * report.baseline.estimate)} is allowed"


def _limit(said: Limit) -> str:
    """What a gate with a limit allows."""
    if said.at_least is not None:
        return f"at least {words.percent(said.at_least)} is asked for"
    if said.at_most is not None:
        return f"at most {words.percent(said.at_most)} is allowed"
    of = f"{100 * said.quantile:g} % of them must take at most" if said.quantile else "a mean of at most"
    return f"{of} {words.runtime(said.seconds or 0.0)}" + ("" if said.quantile else " is allowed")
