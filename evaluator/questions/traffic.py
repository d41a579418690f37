"""What a lane's stable version is like at present and how much traffic it has, from two readings of its processes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evaluator.evidence.alike import Alike, AlikeAnswers
from evaluator.evidence.label_looks import place_of
from evaluator.evidence.lateness import Lateness
from evaluator.evidence.telling import told
from evaluator.gates.balance import BalanceGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import RequestGate
from evaluator.gates.rates import RateGate
from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arm_rows import class_rows, error_rows, own_rows, runtime_rows
from evaluator.window.arms import OWN_PROCESS
from evaluator.window.counts import Counts, InstanceCounts, arrange
from evaluator.window.label_rows import slice_counts, value_slices
from evaluator.window.labels import Labels, error_distributions
from evaluator.window.readings import Reading
from evaluator.window.windows import take
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Gate


@dataclass(frozen=True)
class Traffic:
    """A lane's traffic, all of it stable's.

    Gates of hundreds of classes ask for the same figures again and again, at dozens of shares: each is counted once.

    Attributes:
        terms: what it is counted by; both arms are the stable version.
        counted: all that stable's processes have counted since their start, and the user's own counts as they stand.
        recent: what they counted between the two readings.
        spans: seconds between the two readings, by process.
    """

    terms: Terms
    counted: Counts
    recent: Counts
    spans: Mapping[str, float]

    @classmethod
    def between(cls, terms: Terms, before: Sequence[Reading], after: Sequence[Reading]) -> "Traffic":
        """The traffic between two readings of the same processes; what could not be read twice counts as none."""
        counted = take((), before, first=False)
        latest = take((), after, first=False)
        # What was not read before has counted since its start, and not since then.
        read = {one.instance_id: one.read_us for one in before if one.series is not None}
        spans = {
            one.instance_id: (one.read_us - read[one.instance_id]) / 1e6
            for one in after
            if one.series is not None and one.read_us > read.get(one.instance_id, one.read_us)
        }
        recent = take(counted.cursor, [one for one in after if one.instance_id in spans], first=False)
        # A set of labels outlives what counts behind it, so that to a rollout what it has counted before is history.
        own = [
            InstanceCounts(one.instance_id, one.read_us, arrange({each.key: each for each in one.series or ()}))
            for one in after
            if is_own(one)
        ]
        processes = (one for one in latest.window if not is_own(one))
        return cls(terms, (*processes, *own), recent.window, spans)

    @property
    def seconds(self) -> float:
        """Between the two readings, of the process for which it was longest."""
        return max((span for name, span in self.spans.items() if not name.startswith(OWN_PROCESS)), default=0.0)

    def counts(self, gate: Gate) -> bool:
        """Whether what a gate of the user's own counts was read twice."""
        return any(name.startswith(f"{OWN_PROCESS}{gate.name}/") for name in self.spans)

    @property
    def attempts_per_second(self) -> float:
        """Attempts per second."""
        return self._per_second(_attempts)

    def _per_second(self, count: Callable[[ArmCounts], int]) -> float:
        """What the processes count, each by its own time between its readings."""
        return sum(count(ArmCounts((one,), self.terms)) / self.spans[one.instance_id] for one in self.recent)

    @cached_property
    def labels_per_second(self) -> float:
        """Labels per second: as many per prediction as there have been so far, for labels come in bursts."""
        return self._predictions_per_second * self._labels_per_prediction

    @property
    def label_lag(self) -> float:
        """Seconds within which nearly all labels have come; 0: unknown."""
        return self._lateness.usual

    @cached_property
    def _arms(self) -> ArmCounts:
        return ArmCounts(self.counted, self.terms)

    @property
    def late_labels(self) -> int:
        """Labels of wrong answers whose lag is known."""
        lateness = self._lateness
        return lateness.wrong(test=True) + lateness.wrong(test=False)

    @cached_property
    def _lateness(self) -> Lateness:
        return Lateness().plus(self._arms)

    @cached_property
    def values(self) -> Labels:
        """All reported numbers so far."""
        total = Labels()
        for counts in value_slices(self._arms).values():
            total = total.plus(counts.test).plus(counts.stable)
        return total

    @cached_property
    def labels(self) -> Labels:
        """All labels so far."""
        total = Labels()
        for counts in slice_counts(self._arms).values():
            total = total.plus(counts.test).plus(counts.stable)
        return total

    def informed(self, gate: RequestGate) -> RequestGate:
        """The gate that knows what is usual, and how alike the rows of one request are."""
        labels = Alike().plus(self._arms, slice_counts(self._arms).values())
        return told(self._informed(gate), labels.effect, AlikeAnswers().plus(self._arms))

    def _informed(self, gate: RequestGate) -> RequestGate:
        if isinstance(gate, EachClassGate):
            return gate.each(self._informed_by_labels)
        if gate.gate.metric is MetricKind.DISAGREEMENT:
            return gate
        if isinstance(gate, BalanceGate):
            return gate.learn(class_rows(self._arms, None))
        if isinstance(gate, DistributionGate) and gate.gate.metric is MetricKind.ABSOLUTE_ERROR:
            return gate.learn(error_distributions([(Labels(), self.labels)]))
        if isinstance(gate, DistributionGate | RuntimeLimitGate):
            return gate.learn([(batch, live, _sum(live, control)) for batch, live, control in self._batches()])
        if gate.gate.metric is MetricKind.ERRORS:
            rows = error_rows(self._arms, None)
            return gate.knowing(sum(row[2] for row in rows), sum(row[3] for row in rows))
        if gate.gate.metric is MetricKind.CUSTOM:
            return gate.knowing(*_own(self._arms, gate.gate.name))
        assert isinstance(gate, RateGate)  # noqa: S101 - for the type checker: all others have been told
        return self._informed_by_labels(gate)

    def pace(self, gate: RequestGate) -> float:
        """What the gate counts, per second of all of the lane's traffic."""
        if isinstance(gate, EachClassGate):
            return min(self.pace(part) for part in gate.parts)
        if isinstance(gate, BalanceGate) or gate.gate.metric is MetricKind.DISAGREEMENT:
            return self._predictions_per_second
        if gate.gate.metric is MetricKind.ABSOLUTE_ERROR:
            return self.labels_per_second
        if isinstance(gate, DistributionGate | RuntimeLimitGate):
            return self._per_second(_of_batches)
        if gate.gate.metric is MetricKind.ERRORS:
            return self.attempts_per_second
        if gate.gate.metric is MetricKind.CUSTOM:
            return self._per_second(lambda counted: _own(counted, gate.gate.name)[0])
        assert isinstance(gate, RateGate)  # noqa: S101 - for the type checker: all others have been asked
        if gate.gate.metric is MetricKind.VALUE:
            predictions = _predictions(self._arms)
            return self._predictions_per_second * (min(self.values.rows / predictions, 1.0) if predictions else 0.0)
        labels = self.labels
        part = labels.bad(gate.gate.metric, place_of(gate, self.terms)).n / labels.rows if labels.rows else 0.0
        return self.labels_per_second * part

    @cached_property
    def _predictions_per_second(self) -> float:
        return self._per_second(_predictions)

    @cached_property
    def _labels_per_prediction(self) -> float:
        predictions = _predictions(self._arms)
        return min(self.labels.rows / predictions, 1.0) if predictions else 0.0

    def _informed_by_labels(self, gate: RateGate) -> RateGate:
        known = self.values if gate.gate.metric is MetricKind.VALUE else self.labels
        n, x = known.bad(gate.gate.metric, place_of(gate, self.terms))
        return gate.knowing(n, x)

    def _batches(self) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
        return runtime_rows(self._arms)


def _of_batches(counted: ArmCounts) -> int:
    return sum(sum(live) + sum(control) for _, live, control in runtime_rows(counted))


def _attempts(counted: ArmCounts) -> int:
    return sum(row[2] for row in error_rows(counted, None))


def _predictions(counted: ArmCounts) -> int:
    return sum(one.test_predictions + one.stable_predictions for one in slice_counts(counted).values())


def is_own(one: Reading | InstanceCounts) -> bool:
    """Whether it is of the user's own counts."""
    return one.instance_id.startswith(OWN_PROCESS)


def _own(counted: ArmCounts, gate: str) -> tuple[int, int]:
    """n and x of the user's own counts; both arms are the stable version."""
    rows = own_rows(counted, gate, stable_only=False)
    return sum(row[0] + row[2] for row in rows), sum(row[1] + row[3] for row in rows)


def _sum(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(both) for both in np.add(one, other))
