"""What tests begin with: a fleet that Prometheus scrapes, and a rollout that has not seen much yet."""

import numpy as np
import pytest

from evaluator.evidence.state import State
from tests.fakes.clock import ManualClock
from tests.fakes.metrics import Fleet
from tests.fakes.rollouts import demo_plan, demo_terms, trial
from tests.unit.evaluator.prometheus_scene import TERMS, Scene


@pytest.fixture
def scene() -> Scene:
    """After five seconds of traffic."""
    clock = ManualClock(1_700_000_000.0)
    fleet = Fleet(TERMS, np.random.default_rng(11), rate=500.0, lag=0.2, now=clock.now(), share=3000)
    made = Scene(fleet, clock)
    made.run(5.0)
    return made


@pytest.fixture(scope="module")
def young() -> State:
    """One step, and too little evidence yet."""
    made = trial(0, demo_terms(plan=demo_plan(1000)))
    made.run(3)
    return made.state
