"""How a version answers, and the version that is worse than it by exactly a gate's margin."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.evaluator_error_rates.gates import line
from evaluator.statistics.counts import FloatArray
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin

Rate = float | FloatArray
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Rates of a version of two classes, each a number or an array that goes with (instances, rollouts).

    Attributes:
        errors: attempts that fail.
        positives: rows that are of the positive class.
        missed: of these, those that are answered wrong.
        false_alarms: of the other rows, those that are.
    """

    errors: Rate = 0.005
    positives: Rate = 0.3
    missed: Rate = 0.08
    false_alarms: Rate = 0.08

    @property
    def true_positive(self) -> Rate:
        """Of all rows."""
        return self.positives * (1.0 - self.missed)

    @property
    def false_positive(self) -> Rate:
        """Of all rows."""
        return (1.0 - self.positives) * self.false_alarms

    @property
    def f1(self) -> Rate:
        """2 TP / (2 TP + FP + FN)."""
        wrong = self.false_positive + self.positives * self.missed
        return 2.0 * self.true_positive / (2.0 * self.true_positive + wrong)


Change = Callable[[Behaviour], Behaviour]
"""From stable's behaviour at a look to the test version's."""


def alike(stable: Behaviour) -> Behaviour:
    """The test version answers as stable does."""
    return stable


def at_margin(metric: MetricKind, margin: GateMargin, f1: float) -> Change:
    """A test version that is worse by exactly a gate's margin at every look, and not by more in that metric."""
    edge = line(margin, metric, f1)

    def change(stable: Behaviour) -> Behaviour:
        negatives = 1.0 - stable.positives
        match metric:
            case MetricKind.ERRORS:
                return replace(stable, errors=edge.a + edge.b * stable.errors)
            case MetricKind.ACCURACY:
                return replace(stable, missed=stable.missed + edge.a, false_alarms=stable.false_alarms + edge.a)
            case MetricKind.RECALL:
                return replace(stable, missed=stable.missed + edge.a)
            case MetricKind.FALSE_POSITIVE_RATE:
                return replace(stable, false_alarms=stable.false_alarms + edge.a)
            case MetricKind.PRECISION:
                predicted = stable.true_positive + stable.false_positive
                wrong = stable.false_positive / predicted + edge.a
                return replace(stable, false_alarms=stable.true_positive * wrong / (1.0 - wrong) / negatives)
            case MetricKind.F1:
                # J = TP/(TP + FP + FN) = positives*(1 - missed)/(positives + FP).
                all_of_either = stable.positives + stable.false_positive
                jaccard = stable.true_positive / all_of_either - edge.a
                return replace(stable, missed=1.0 - jaccard * all_of_either / stable.positives)
            case MetricKind.CLASS_BALANCE:
                return replace(stable, false_alarms=stable.false_alarms + edge.a / negatives)
            case _:
                raise ValueError(f"{metric} is no rate")

    return change
