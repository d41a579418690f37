"""Whole rollouts with every kind of gate and nothing to judge by: none is promoted, and none rolled back."""

from dataclasses import replace

import pytest

from evaluator.terms import Terms
from evaluator.verdict.decision import Action
from evaluator.window.readings import Reading
from services.common.policy.metrics import MetricKind
from tests.fakes.metrics import Behaviour, Instance
from tests.fakes.rollouts import Trial
from tests.unit.evaluator.every_gate import KINDS, Kind, begun

LOOKS = 20
GOOD, BAD = Behaviour(), Behaviour(wrong=0.39, missed=0.8, off=5.0, engaged=0.05)
"""The bad one is so in what labels and callers say alone: it answers each class as often."""
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
versions = pytest.mark.parametrize("test", [GOOD, BAD], ids=["good", "bad"])


class Zeros(Instance):
    """A process that has every series, and counts nothing."""

    def read(self, now: float, terms: Terms) -> Reading:
        found = super().read(now, terms)
        series = tuple(replace(one, counts=(0,) * len(one.counts), total=0.0) for one in found.series or ())
        return replace(found, series=series)


def trial(kind: Kind, test: Behaviour) -> Trial:
    return begun(kind, test, rate=100.0, features=2)


def check_that_it_concludes_nothing(made: Trial) -> None:
    decision = made.run(LOOKS)
    assert decision is not None
    assert (decision.action, decision.code) == (Action.CANCEL, "TOO_LITTLE_EVIDENCE"), decision.reason
    assert {one.action for one in made.decisions} == {Action.NONE, Action.CANCEL}


@kinds
def test_counters_that_are_all_zero(kind: Kind) -> None:
    made = trial(kind, BAD)
    fleet = made.fleet
    fleet.routers = tuple(Zeros(one.name, one.worker, one.store) for one in fleet.routers)
    fleet.workers = tuple(Zeros(one.name, one.worker, one.store) for one in fleet.workers)
    made = Trial.begin(fleet)
    check_that_it_concludes_nothing(made)
    assert all(not gate.test_n for gate in made.state.gates)
    assert all(gate.harm.max_log_e == 0.0 for gate in made.state.gates)


@kinds
def test_a_lane_without_traffic(kind: Kind) -> None:
    made = trial(kind, BAD)
    made.fleet.rate = 0.0
    check_that_it_concludes_nothing(made)


@kinds
def test_a_version_without_traffic(kind: Kind) -> None:
    made = trial(kind, BAD)
    made.fleet.share = 0
    check_that_it_concludes_nothing(made)


@kinds
@versions
def test_no_labels_and_nothing_that_callers_report(kind: Kind, test: Behaviour) -> None:
    made = trial(kind, test)
    fleet = made.fleet
    fleet.labelled = fleet.reported = fleet.paired = 0.0
    check_that_it_concludes_nothing(made)


@pytest.mark.parametrize("positives", [0.0, 1.0], ids=["none of a class", "all of a class"])
def test_labels_of_one_class_alone(positives: float) -> None:
    """Where every gate is required; what a version is like in the other class then nobody knows."""
    live = KINDS["live"]
    gates = tuple(replace(gate, required=gate.metric is not MetricKind.INPUT_DRIFT) for gate in live.gates)
    made = trial(replace(live, gates=gates), GOOD)
    made.fleet.positives = positives
    check_that_it_concludes_nothing(made)
