"""A window in order: its series by process and metric, each with its attributes by name and the arm that it is of.

A look asks one window for attempts, batches, predictions, labels and what else gates count, each time for a metric or
two among hundreds of series. They are told apart once.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from evaluator.terms import Terms
from evaluator.window.arms import COMPARED, TESTED
from evaluator.window.counts import Counts, InstanceCounts, Series


class ArmSeries(NamedTuple):
    """A series, and whose it is.

    Attributes:
        series: what was counted.
        at: attribute values by name.
        test: it is of the test arm.
        stable: it is of the stable arm, control included; both where a version is compared with itself.
    """

    series: Series
    at: Mapping[str, str]
    test: bool
    stable: bool


class ProcessSeries:
    """The series of one process by metric.

    Args:
        counts: of the process.
        terms: which versions the arms are.
    """

    def __init__(self, counts: InstanceCounts, terms: Terms) -> None:
        self.instance_id = counts.instance_id
        self._by_metric: dict[str, list[ArmSeries]] = {}
        for one in counts.series:
            at = one.values()
            version, traffic = at.get("version"), at.get("traffic")
            test, stable = version == terms.test and traffic in TESTED, version == terms.stable and traffic in COMPARED
            self._by_metric.setdefault(one.metric, []).append(ArmSeries(one, at, test, stable))

    def of(self, *metrics: str) -> Sequence[ArmSeries]:
        """The series of those metrics, in the order in which they are recorded."""
        if len(metrics) == 1:
            return self._by_metric.get(metrics[0], ())
        return [one for metric in sorted(metrics) for one in self._by_metric.get(metric, ())]


class ArmCounts:
    """The series of all processes; it is not changed once it is made.

    Args:
        window: what was counted since the look before.
        terms: which versions the arms are.
    """

    def __init__(self, window: Counts, terms: Terms) -> None:
        self.terms = terms
        self.processes = tuple(ProcessSeries(one, terms) for one in window)
