"""A comparison of both arms' inputs."""

from evaluator.evidence.same_inputs import SameInputs, open_same_inputs
from tests.fakes.rollouts import demo_terms

BINS = 10


def opened(features: int = 4) -> SameInputs:
    made = open_same_inputs(demo_terms(features=features))
    assert made is not None
    return made
