"""The slowest batches: a version that has more of them is not promoted, however fast it is at the median."""

from dataclasses import replace

import pytest

from evaluator.gates.distributions import DistributionGate
from evaluator.rpc import proto_summary
from evaluator.verdict.decision import Action
from evaluator.verdict.period_end import needs_of
from evaluator.verdict.reports import GateReport, Verdict
from services.common.policy.defaults import complete_policy
from services.common.policy.drafts import GateDraft, PolicyDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Meaning
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial


def rollout(seed: int, slow: float) -> Trial:
    """By runtimes alone, with some two batches of one size a look in each arm."""
    policy = demo_policy(gates=(GateDraft(MetricKind.RUNTIME, required=True),))
    made = trial(seed, demo_terms(policy, demo_plan(1000, period=3600.0)), Behaviour(slow_batches=slow), rate=20.0)
    made.fleet.batch = 1
    return made


def runtime_of(made: Trial) -> GateReport:
    return made.decisions[-1].gates[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_version_with_slow_batches_is_not_promoted_and_says_what_for(seed: int) -> None:
    made, waited = rollout(seed, 0.04), False
    for _ in range(500):
        made.look()
        report = runtime_of(made)
        if report.safe.enough and report.verdict is Verdict.CONTINUE:
            waited = True
            assert report.tail is not None
            assert "to show that hardly more of them take long than of v1's" in report.waits_for
        if made.outcome is not None:
            break
    assert waited
    assert made.outcome is None or made.outcome.action is Action.ROLLBACK


def test_a_version_like_stable_passes_and_both_p99s_are_said() -> None:
    made = rollout(1, 0.0)
    found = made.run(600)
    assert found is not None
    assert found.action is Action.PROMOTE
    assert "at the 99th percentile" in found.reason
    tail = proto_summary.to_proto(found).gates[0].tail
    assert tail.safe.log_e >= tail.safe.bar > 0
    assert tail.baseline.x < 0.02 * tail.baseline.n
    assert tail.test.estimate > 0


def test_a_tail_that_is_not_shown_asks_for_more_batches_at_the_periods_end() -> None:
    made = rollout(1, 0.0)
    made.run(20)
    gate = next(one for one in made.state.gates if isinstance(one, DistributionGate))
    assert gate.tail is not None
    shown = gate.tail.log_e
    gate = replace(gate, needs=5_000.0, median_needs=300.0)
    assert needs_of(gate, shown + 0.1) == 5_000.0
    assert needs_of(gate, shown) == 300.0


@pytest.mark.parametrize(
    ("safe", "expected"),
    [(None, (2, 0.02)), (GateMargin(buckets=3), (3, 0.02)), (GateMargin(buckets=3, offset=0.01), (3, 0.01))],
)
def test_what_a_policy_leaves_out_is_filled_in(safe: GateMargin | None, expected: tuple[int, float]) -> None:
    draft = PolicyDraft(gates=(GateDraft(MetricKind.RUNTIME, required=True, safe=safe),))
    policy, violations = complete_policy(draft, Meaning("other"))
    assert not violations
    assert (policy.gates[0].safe.buckets, policy.gates[0].safe.offset) == expected


@pytest.mark.parametrize(
    "gate",
    [
        GateDraft(MetricKind.RUNTIME, required=True, safe=GateMargin(offset=0.02)),
        GateDraft(MetricKind.RUNTIME, required=True, safe=GateMargin(buckets=2, offset=1.0)),
        GateDraft(MetricKind.RUNTIME, required=True, harm=GateMargin(buckets=1, offset=0.01)),
    ],
    ids=["no buckets", "all batches", "of harm"],
)
def test_margins_that_say_nothing_are_refused(gate: GateDraft) -> None:
    _, violations = complete_policy(PolicyDraft(gates=(gate,)), Meaning("other"))
    assert violations
