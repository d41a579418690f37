"""The kinds of tests that the oracle has: no cohorts, boosts, caps or design effects but drift's."""

from benchmarks.evaluator_error_rates.checks import drift, means, rates, runtimes
from benchmarks.evaluator_error_rates.checks.checked import Checked


def check(seed: int, cases: int) -> list[Checked]:
    """Compares each of them with the oracle, in so many random rollouts of each."""
    return [kind(seed, cases) for kind in (rates.check, runtimes.check, means.check, drift.check)]
