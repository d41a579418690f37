"""A metric of the user's own: counts per version that a Prometheus server is asked for by PromQL.

They come beside those of the processes, under names of their own, and go through the same windows: cumulative counts of
each set of labels but `version`, as if it was a process. So they are recorded and replayed; but a set of labels
outlives the processes behind it, so that what it has counted when it is first seen, or after it fell, is history.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from evaluator.ports import MetricsSource, ProcessView
from evaluator.sources.prometheus_series import PrometheusError, RawSeries
from evaluator.terms import Terms
from evaluator.window.arm_rows import own_series
from evaluator.window.arms import OWN_PROCESS
from evaluator.window.counts import Series
from evaluator.window.readings import Reading
from services.common.clock import Clock
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate, Need
from services.common.telemetry.largest import LARGEST_COUNT

_VERSION: Final = "version"
_DIGEST: Final = 12
MOST_SERIES: Final = 10_000
"""Of a query. They take a look 0.5 s, in which no other rollout is looked at, and 2 MB are recorded of them; those by
user or by request would take both without end."""
_NONE: Final = "the policy asks Prometheus for it, and the Evaluator has none: set CROSSFADE_EVALUATOR_PROMETHEUS"
_EMPTY: Final = (
    "{}: neither of its queries gives a series: run both in Prometheus, correct their labels in the policy, and set "
    "the clocks of Prometheus and of the Evaluator (NTP)"
)


class Expressions(Protocol):
    """What a Prometheus server answers to PromQL, as the queries of the user's own gates are written."""

    async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
        """What an expression gives at a time (milliseconds since 1970-01-01 UTC): one sample per series.

        Raises:
            PrometheusError: there is no answer, or only a part of it.
        """


class OwnMetrics:
    """A source of metrics with those of the user's own beside it.

    Args:
        source: of the processes' counts.
        expressions: the Prometheus server; None: there is none.
        clock: when it is asked.
    """

    def __init__(self, source: MetricsSource, expressions: Expressions | None, clock: Clock) -> None:
        self._source = source
        self._expressions = expressions
        self._clock = clock

    def age(self, terms: Terms) -> float:
        """Seconds that counts may be old when they are read; those of a Prometheus server may."""
        own = terms.policy.stale_after if _gates(terms) and self._expressions is not None else 0.0
        return max(self._source.age(terms), own)

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        """Reads the processes, and asks for what the policy's own gates count."""
        now, gates = self._clock.now(), _gates(terms)
        own = (self._read(gate, now, timeout) for gate in gates)
        found, *more = await asyncio.gather(self._source.read(processes, terms, timeout), *own)
        for gate, readings in zip(gates, more, strict=True):
            missed = not readings and gate.need is not Need.NEVER
            found = [*found, *(readings if not missed else [_nothing(gate, now, _EMPTY.format(gate.name))])]
        return found

    async def earlier(self, terms: Terms, seconds: float, timeout: float) -> Sequence[Reading]:
        """What the policy's own gates had counted so many seconds ago."""
        then = self._clock.now() - seconds
        found = await asyncio.gather(*(self._read(gate, then, timeout) for gate in _gates(terms)))
        return [reading for readings in found for reading in readings]

    async def _read(self, gate: Gate, now: float, timeout: float) -> Sequence[Reading]:
        if self._expressions is None:
            return [_nothing(gate, now, _NONE)]
        at = round(now * 1000)
        try:
            # At one moment, so that what is bad is part of the total.
            bad, total = await asyncio.gather(
                *(self._expressions.evaluate(query, at, timeout) for query in (gate.bad_query, gate.total_query))
            )
            return [
                Reading(f"{OWN_PROCESS}{gate.name}/{name}", at * 1000, series, reused_id=True)
                for name, series in sorted(_counted(gate, bad, total).items())
            ]
        except PrometheusError as error:
            return [_nothing(gate, now, str(error))]


def _gates(terms: Terms) -> list[Gate]:
    return [gate for gate in terms.policy.gates if gate.metric is MetricKind.CUSTOM]


def _nothing(gate: Gate, now: float, why: str) -> Reading:
    return Reading(f"{OWN_PROCESS}{gate.name}", round(now * 1e6), None, why)


def _counted(gate: Gate, bad: Sequence[RawSeries], total: Sequence[RawSeries]) -> Mapping[str, tuple[Series, ...]]:
    """Counts by the digest of all labels but the version's.

    Raises:
        PrometheusError: they are no counts per version.
    """
    wrong = _by_key(gate, "bad_query", bad)
    if total and not bad:
        raise PrometheusError(
            f"{gate.name}: bad_query gives no series; where nothing bad may have happened yet, append "
            "`or 0 * (…)` with total_query in it"
        )
    totals = _by_key(gate, "total_query", total)
    for one in bad:
        key = _key(gate, one)
        if wrong[key] and key not in totals:
            raise PrometheusError(
                f"{gate.name}: bad_query gives {_labels(one)}, and total_query has no series of these labels"
            )
    found: dict[str, list[Series]] = {}
    for (labels, version), n in totals.items():
        x = wrong.get((labels, version), 0)
        if x > n:
            raise PrometheusError(f"{gate.name}: bad_query counts {x} of {version} and total_query only {n}")
        found.setdefault(labels, []).append(own_series(gate.name, version, n, x))
    return {labels: tuple(sorted(series, key=lambda one: one.key)) for labels, series in found.items()}


def _by_key(gate: Gate, query: str, series: Sequence[RawSeries]) -> dict[tuple[str, str], int]:
    """Counts by the digest of all labels but the version's, and the version."""
    if len(series) > MOST_SERIES:
        raise PrometheusError(
            f"{gate.name}: {query} gives {len(series):,} series, and at most {MOST_SERIES:,} are followed: sum by "
            "fewer labels: sum by (version, instance) (…)"
        )
    found: dict[tuple[str, str], int] = {}
    for one in series:
        key = _key(gate, one)
        if key in found:
            # Names are no labels here: what is bad and all that there is have two.
            raise PrometheusError(
                f"{gate.name}: {query} gives several series that differ by name alone, one of them {_labels(one)}; "
                "sum them: sum by (version, instance) (…)"
            )
        found[key] = _count(gate, one)
    return found


def _key(gate: Gate, one: RawSeries) -> tuple[str, str]:
    version = one.labels.get(_VERSION)
    if not version:
        raise PrometheusError(f"{gate.name}: its series have no label `version`: write sum by (version) (…)")
    rest = sorted((name, value) for name, value in one.labels.items() if name not in (_VERSION, "__name__"))
    return hashlib.sha256(repr(rest).encode()).hexdigest()[:_DIGEST], version


def _labels(one: RawSeries) -> str:
    return "{" + ", ".join(f"{name}={value!r}" for name, value in sorted(one.labels.items())) + "}"


def _count(gate: Gate, one: RawSeries) -> int:
    (value,) = one.samples.values()
    if not (0 <= value < LARGEST_COUNT and value == int(value)):
        raise PrometheusError(
            f"{gate.name} gives {value:g}, which is no count: ask for counters as they are, no rate() or increase()"
        )
    return int(value)
