"""Which evidence a gate is judged by, and how many looks have to agree on its harm."""

import pytest

from evaluator.gates.balance import BalanceGate
from evaluator.gates.cohorts import CohortGate
from evaluator.gates.distributions import DistributionGate
from evaluator.gates.each_class import EachClassGate
from evaluator.gates.limits import RuntimeLimitGate
from evaluator.gates.opening import agreeing_looks, guarded, open_gate
from evaluator.gates.paired import PairedGate
from evaluator.gates.rates import RateGate
from evaluator.statistics.process import look_cap
from evaluator.terms import Terms
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import Limit, Plan, Step
from tests.fakes.rollouts import demo_policy, demo_terms

ERRORS = GateDraft(MetricKind.ERRORS, required=True)


def terms(*gates: GateDraft, periods: tuple[float, ...] = (240.0,), sticky: bool = False) -> Terms:
    """Looks are 2 s apart; slices are a twelfth of a period."""
    plan = Plan(tuple(Step(500, 0.0, period) for period in periods))
    return demo_terms(demo_policy(task="", gates=(ERRORS, *gates)), plan, features=0, sticky=sticky)


@pytest.mark.parametrize(
    ("period", "looks"),
    # Slices of 20 s, 6 s, 5 s, 4 s, 3 s, 2 s and 1 s.
    [(240.0, 1), (72.0, 1), (60.0, 2), (48.0, 2), (36.0, 2), (24.0, 3), (12.0, 3)],
)
def test_of_labels_that_wait_for_their_slice_so_many_looks_agree_as_three_looks_have_slices(
    period: float, looks: int
) -> None:
    asked = terms(GateDraft(MetricKind.ACCURACY), periods=(3_600.0, period))
    errors, accuracy = asked.policy.gates
    assert agreeing_looks(accuracy, asked, 1) == looks
    assert agreeing_looks(accuracy, asked, 0) == 1
    assert agreeing_looks(errors, asked, 1) == 3


@pytest.mark.parametrize(
    ("draft", "looks"),
    [
        (GateDraft(MetricKind.RECALL, positive="3"), 3),
        (GateDraft(MetricKind.RECALL, positive="3", limit=Limit(at_least=0.9)), 1),
        (GateDraft(MetricKind.F1, positive="3"), 1),
        (GateDraft(MetricKind.PAIRED_ACCURACY), 1),
        (GateDraft(MetricKind.VALUE), 1),
        (GateDraft(MetricKind.CLASS_BALANCE), 3),
        (GateDraft(MetricKind.DISAGREEMENT, limit=Limit(at_most=0.1)), 3),
    ],
)
def test_three_looks_agree_where_no_slice_is_waited_for(draft: GateDraft, looks: int) -> None:
    asked = terms(draft)
    assert agreeing_looks(asked.policy.gates[1], asked, 0) == looks


@pytest.mark.parametrize(
    ("draft", "kind"),
    [
        (GateDraft(MetricKind.RUNTIME), DistributionGate),
        (GateDraft(MetricKind.RUNTIME, limit=Limit(seconds=0.02)), RuntimeLimitGate),
        (GateDraft(MetricKind.ABSOLUTE_ERROR), DistributionGate),
        (GateDraft(MetricKind.CLASS_BALANCE), BalanceGate),
        (GateDraft(MetricKind.PAIRED_ACCURACY), PairedGate),
        (GateDraft(MetricKind.RECALL, positive="*"), EachClassGate),
        (GateDraft(MetricKind.RECALL, positive="3"), RateGate),
        (GateDraft(MetricKind.ACCURACY), RateGate),
    ],
)
def test_a_gate_is_judged_by_the_evidence_of_its_metric(draft: GateDraft, kind: type) -> None:
    for sticky in (False, True):
        asked = terms(draft, sticky=sticky)
        opened = open_gate(asked.policy.gates[1], asked)
        assert type(opened) is (CohortGate if sticky and draft.metric is MetricKind.ACCURACY else kind)
    assert open_gate(terms(GateDraft(MetricKind.INPUT_DRIFT)).policy.gates[1], asked) is None


@pytest.mark.parametrize(
    "draft",
    [
        GateDraft(MetricKind.ACCURACY),
        GateDraft(MetricKind.F1, positive="3"),
        GateDraft(MetricKind.F1, positive="*"),
        GateDraft(MetricKind.ABSOLUTE_ERROR),
        GateDraft(MetricKind.PAIRED_ACCURACY),
    ],
)
def test_each_step_has_a_burst_guard_of_its_own(draft: GateDraft) -> None:
    asked = terms(draft, periods=(240.0, 24.0))
    gate = open_gate(asked.policy.gates[1], asked)
    assert isinstance(gate, RateGate | EachClassGate | DistributionGate | PairedGate)
    alpha = asked.policy.gate_alpha(gate.gate)
    for step, looks in ((0, 1), (1, 3), (0, 1)):
        gate = guarded(gate, asked, step)
        assert isinstance(gate, RateGate | EachClassGate | DistributionGate | PairedGate)
        parts = gate.parts if isinstance(gate, EachClassGate) else (gate,)
        assert [part.harm.cap for part in parts] == [look_cap(alpha, looks)] * len(parts)


def test_under_key_as_many_windows_are_spared_as_have_to_agree_with_another() -> None:
    asked = terms(GateDraft(MetricKind.ACCURACY), periods=(240.0, 24.0), sticky=True)
    errors, accuracy = (open_gate(gate, asked) for gate in asked.policy.gates)
    assert isinstance(errors, CohortGate)
    assert isinstance(accuracy, CohortGate)
    assert (errors.spare, accuracy.spare) == (2, 0)
    assert errors.harm.part == 0.5
    after = guarded(accuracy, asked, 1)
    assert isinstance(after, CohortGate)
    assert after.spare == 2


def test_the_guard_of_runtimes_is_the_same_in_every_step() -> None:
    asked = terms(GateDraft(MetricKind.RUNTIME), periods=(240.0, 24.0))
    gate = open_gate(asked.policy.gates[1], asked)
    assert gate is not None
    assert guarded(gate, asked, 1) is gate
