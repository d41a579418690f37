"""Which scenarios answer which question, with how many rollouts."""

from dataclasses import dataclass
from typing import Final

from benchmarks.evaluator_error_rates import scenarios
from benchmarks.evaluator_error_rates.gates import METRICS, RATE_METRICS
from benchmarks.evaluator_error_rates.jobs import Job
from evaluator.statistics.bets import Side
from services.common.policy.metrics import LABEL_METRICS, MetricKind

WRONG_ROLLBACK, WRONG_PROMOTION, AT_EDGE = "wrong rollback", "wrong promotion", "at the edge of harm"
STICKY, WARM = "sticky keys", "against stable's warm process"
_RUNTIME: Final = (MetricKind.RUNTIME,)
_RUNTIME_AS: Final = {scenarios.LATE.name: scenarios.RAMPED.name}
"""Scenarios whose runtimes are another one's."""
_RATES_AS: Final = {scenarios.COLD.name: scenarios.CONSTANT.name}
"""Scenarios whose rates are another one's."""
ALIKE: Final = (
    scenarios.CONSTANT,
    scenarios.RAMPED,
    scenarios.INCIDENTS,
    scenarios.DAYS,
    scenarios.LATE,
    scenarios.COLD,
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much is simulated.

    Attributes:
        rollouts: of each scenario with versions alike.
        looks: of each rollout.
    """

    rollouts: int = 10_000
    looks: int = 720

    @property
    def at_margins(self) -> int:
        """Rollouts of each gate at a margin."""
        return max(self.rollouts // 5, 1)

    @property
    def against_stable(self) -> int:
        """Rollouts whose runtimes are compared as nobody should: nearly all are rolled back."""
        return max(self.rollouts // 80, 1)

    @property
    def of_detection(self) -> int:
        """Rollouts of each effect."""
        return max(self.rollouts // 5, 1)

    @property
    def of_inputs(self) -> int:
        """Rollouts whose inputs are compared, of each scenario: one is folded at a time."""
        return max(self.rollouts // 40, 1)

    @property
    def of_winners(self) -> int:
        """A/B tests of each kind: one is judged at a time."""
        return max(self.rollouts // 25, 1)

    @property
    def sticky(self) -> int:
        """Rollouts by keys, as tests by request would judge them."""
        return max(self.rollouts // 10, 1)

    @property
    def by_key(self) -> int:
        """Rollouts by keys, as they are judged: each draws its users one by one."""
        return max(self.rollouts // 5, 1)

    def counts(self) -> dict[str, int]:
        """Rollouts of each kind, for whoever reads the figures alone."""
        return {
            "alike": self.rollouts,
            "at_margins": self.at_margins,
            "detection": self.of_detection,
            "inputs": self.of_inputs,
            "by_key": self.by_key,
            "winners": self.of_winners,
        }


def rates_of(scenario: str) -> str:
    """The scenario whose rates a row is made of."""
    return _RATES_AS.get(scenario, scenario)


def runtimes_of(scenario: str) -> str:
    """The scenario whose runtimes a row is made of."""
    return _RUNTIME_AS.get(scenario, scenario)


def error_jobs(size: Size) -> list[Job]:
    """All that wrong rollbacks and wrong promotions are counted in."""
    made: list[Job] = []
    for scenario in ALIKE:
        group = WRONG_ROLLBACK, scenario.name
        if scenario.name not in _RATES_AS:
            made.append(Job(group, scenario, Side.HARM, RATE_METRICS, size.rollouts, size.looks))
        if scenario.name not in _RUNTIME_AS:
            made.append(Job(group, scenario, Side.HARM, _RUNTIME, size.rollouts, size.looks))
    for metric in METRICS:
        group = AT_EDGE, scenarios.INCIDENTS.name
        made.append(Job(group, scenarios.INCIDENTS, Side.HARM, (metric,), size.at_margins, size.looks, worse=True))
        late = (scenarios.LATE_CONSTANT, scenarios.LATE_FIRST) if metric in LABEL_METRICS else ()
        if metric is MetricKind.ACCURACY:
            late = (*late, scenarios.LATE_RARE)
        for scenario in (scenarios.CONSTANT, scenarios.INCIDENTS, *late):
            group = WRONG_PROMOTION, scenario.name
            made.append(Job(group, scenario, Side.NON_INFERIOR, (metric,), size.at_margins, size.looks, worse=True))
    made.append(Job((STICKY, STICKY), scenarios.STICKY, Side.HARM, RATE_METRICS, size.sticky, size.looks))
    few, looks = size.against_stable, min(size.looks, 60)
    made.append(Job((WARM, WARM), scenarios.COLD, Side.HARM, _RUNTIME, few, looks, against_stable=True))
    return made
