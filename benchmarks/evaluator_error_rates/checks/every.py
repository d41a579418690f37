"""The kinds of tests that the oracle has."""

from benchmarks.evaluator_error_rates.checks import boosts, caps, cohorts, drift, keyed, means, rates, runtimes
from benchmarks.evaluator_error_rates.checks.checked import Checked

_KINDS = (rates, runtimes, means, drift, caps, boosts, cohorts, keyed)


def check(seed: int, cases: int) -> list[Checked]:
    """Compares each of them with the oracle, in so many random rollouts of each."""
    return [kind.check(seed, cases) for kind in _KINDS]
