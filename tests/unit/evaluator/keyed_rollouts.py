"""Rollouts whose requests are assigned by key."""

import numpy as np

from evaluator.evidence.state import State
from evaluator.gates.cohorts import CohortGate
from evaluator.terms import Terms
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Objective, PeriodEnd, Plan
from tests.fakes.keyed import KeyedFleet
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
ACCURACY = GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.05))
RUNTIME = GateDraft(MetricKind.RUNTIME)


def keyed_terms(
    *gates: GateDraft,
    plan: Plan | None = None,
    objective: Objective = Objective.NON_INFERIOR,
    period_end: PeriodEnd = PeriodEnd.INCONCLUSIVE,
) -> Terms:
    policy = demo_policy(gates=gates or (ERRORS, ACCURACY, RUNTIME), objective=objective, period_end=period_end)
    return demo_terms(policy, plan or demo_plan(5000, period=240.0), features=0, sticky=True)


def trial(seed: int, terms: Terms, test: Behaviour, *, reported: float = 0.0, users: int = 2_000) -> Trial:
    random = np.random.default_rng(seed)
    fleet = KeyedFleet(terms, random, rate=400.0, test=test, reported=reported, users=users)
    return Trial.begin(fleet, waiting_looks=4)


def run(seed: int, terms: Terms, test: Behaviour, *, reported: float = 0.0, users: int = 2_000) -> Trial:
    made = trial(seed, terms, test, reported=reported, users=users)
    made.run(140)
    return made


def gate(state: State, name: str) -> CohortGate:
    found = next(one for one in state.gates if one.gate.name == name)
    assert isinstance(found, CohortGate)
    return found
