"""What classes a version answers, each against all others."""

from collections.abc import Mapping
from typing import Final

from evaluator.monitor.swings import MOST, Swings
from evaluator.statistics.design_effect import requests_like
from evaluator.terms import Feature, Profile
from services.common.policy.metrics import MetricKind
from services.common.policy.records import DEFAULT_SAFE

OUTPUTS: Final = "outputs"


def answers_profile(answers: Mapping[str, int], together: int = 0) -> Profile:
    """Each class against all others, as features of two bins; known as if all rows of a request had one class.

    Args:
        answers: predicted rows by class, at least one.
        together: as in Past.
    """
    rows = sum(answers.values())
    shares = {name: count / rows for name, count in answers.items()}
    known = max(int(requests_like(rows, rows + together)), 1)
    return Profile(OUTPUTS, known, tuple(Feature(name, (share, 1.0 - share)) for name, share in shares.items()))


def answers_tolerances(answers: Mapping[str, int], swings: Swings) -> list[float]:
    """How far the share of each class may be off that of the past, which has these answers and swung so."""
    rows, allowed = sum(answers.values()), DEFAULT_SAFE[MetricKind.CLASS_BALANCE].offset
    return [min(allowed + swings.swing(name, count / rows), MOST) for name, count in answers.items()]
