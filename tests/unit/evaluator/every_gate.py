"""Rollouts with every kind of gate."""

from dataclasses import dataclass

import numpy as np

from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import EACH_CLASS, MetricKind
from services.common.policy.records import GateMargin, Limit
from tests.fakes.keyed import KeyedFleet
from tests.fakes.metrics import CLASSES, Behaviour, Fleet
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01))
OF_CLASS = (MetricKind.PRECISION, MetricKind.RECALL, MetricKind.FALSE_POSITIVE_RATE, MetricKind.F1)
LIVE = (
    ERRORS,
    GateDraft(MetricKind.ERRORS, segment="eu"),
    GateDraft(MetricKind.ERRORS, limit=Limit(at_most=0.01)),
    GateDraft(MetricKind.RUNTIME, required=True),
    GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02)),
    GateDraft(MetricKind.ACCURACY, required=True),
    GateDraft(MetricKind.ACCURACY, segment="eu"),
    GateDraft(MetricKind.ACCURACY, limit=Limit(at_least=0.5)),
    *(GateDraft(metric, positive=CLASSES[0]) for metric in OF_CLASS),
    *(GateDraft(metric, positive=EACH_CLASS, name=f"each {metric}") for metric in OF_CLASS),
    GateDraft(MetricKind.F1, positive=CLASSES[0], limit=Limit(at_least=0.5)),
    GateDraft(MetricKind.CLASS_BALANCE),
    GateDraft(MetricKind.VALUE),
    GateDraft(MetricKind.VALUE, above=15.0, name="engagement"),
    GateDraft(MetricKind.VALUE, limit=Limit(at_least=0.01)),
    GateDraft(MetricKind.INPUT_DRIFT),
)
SHADOW = (
    ERRORS,
    GateDraft(MetricKind.RUNTIME, required=True),
    GateDraft(MetricKind.PAIRED_ACCURACY, required=True),
    GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.05)),
    GateDraft(MetricKind.CLASS_BALANCE),
    GateDraft(MetricKind.INPUT_DRIFT),
)
BY_KEY = (
    ERRORS,
    GateDraft(MetricKind.ACCURACY, required=True),
    GateDraft(MetricKind.VALUE, required=True),
    GateDraft(MetricKind.RUNTIME),
    GateDraft(MetricKind.CLASS_BALANCE),
)
OF_NUMBERS = (ERRORS, GateDraft(MetricKind.ABSOLUTE_ERROR, required=True), GateDraft(MetricKind.INPUT_DRIFT))


@dataclass(frozen=True)
class Kind:
    """A kind of rollout.

    Attributes:
        gates: all that may judge it.
        shadow: its first step is a SHADOW one.
        sticky: requests are assigned by key.
        task: the model's.
    """

    gates: tuple[GateDraft, ...]
    shadow: bool = False
    sticky: bool = False
    task: str = "classification"


KINDS = {
    "live": Kind(LIVE),
    "shadow": Kind(SHADOW, shadow=True),
    "by key": Kind(BY_KEY, sticky=True),
    "of numbers": Kind(OF_NUMBERS, task="regression"),
}


def begun(kind: Kind, test: Behaviour, *, rate: float, features: int) -> Trial:
    """A rollout whose first step begins and lasts 24 s."""
    plan = demo_plan(3000, 5000, shadow=1, period=24.0) if kind.shadow else demo_plan(5000, period=24.0)
    policy = demo_policy(gates=kind.gates, task=kind.task)
    terms = demo_terms(policy, plan, features=features, sticky=kind.sticky)
    random = np.random.default_rng(5)
    if kind.sticky:
        return Trial.begin(KeyedFleet(terms, random, rate=rate, test=test, reported=0.5))
    fleet = Fleet(terms, random, rate=rate, test=test, positives=0.3, reported=0.5, european=0.3, batch=2, paired=0.9)
    fleet.regression = kind.task == "regression"
    return Trial.begin(fleet)
