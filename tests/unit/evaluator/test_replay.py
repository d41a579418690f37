"""Replay: the recorded decision under the recorded policy, bit for bit; and what another policy would have decided."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from evaluator.questions.replay import CompactedError, UnknownCircumstancesError, replay
from evaluator.rpc import proto_circumstances, proto_summary
from evaluator.verdict.concluded import Concluded
from evaluator.verdict.decide import decide
from evaluator.verdict.decision import Action, Circumstances, Phase
from evaluator.verdict.readiness import Served, Serving, Worker
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import Trial, demo_plan, demo_policy, demo_terms, trial


async def recorded(made: Trial) -> AsyncIterator[Concluded]:
    for look, one in zip(made.looks, made.decisions, strict=True):
        yield Concluded(look, one.at, one.action, one.gate, one.reason)


@pytest.mark.parametrize(
    ("test", "looks"),
    [
        (Behaviour(), 150),
        (Behaviour(errors=0.05), 150),
        (Behaviour(wrong=0.15), 150),
        (Behaviour(seconds=0.004), 150),
        (Behaviour(), 5),
    ],
)
async def test_under_its_own_policy_every_conclusion_is_the_recorded_one(test: Behaviour, looks: int) -> None:
    made = trial(4, test=test)
    made.run(looks)
    found = await replay(made.fleet.terms, recorded(made))
    assert (found.looks, found.parts_at) == (len(made.looks), 0)
    assert found.recorded == found.replayed
    assert [moment.action for moment in found.replayed] == [one.action for one in made.decisions if one.action]
    assert found.last is not None
    assert proto_summary.to_proto(found.last).SerializeToString(deterministic=True) == proto_summary.to_proto(
        made.decisions[-1]
    ).SerializeToString(deterministic=True)


async def test_looks_of_before_the_slowest_batches_were_asked_for_conclude_what_they_did() -> None:
    made = trial(3)
    made.fleet.batch = 4
    concluded = [one async for one in recorded(made)]
    while concluded[-1].action not in {Action.PROMOTE, Action.ADVANCE}:
        at = made.look().at
        assert at is not None
        one = decide(made.state, replace(at, rules=0))
        assert all(report.tail is None for report in one.gates)
        concluded.append(Concluded(made.looks[-1], one.at, one.action, one.gate, one.reason))

    async def old() -> AsyncIterator[Concluded]:
        for one in concluded:
            yield one

    assert (await replay(made.fleet.terms, old())).parts_at == 0
    by_present_rules = await replay(made.fleet.terms, old(), anew=True)
    assert by_present_rules.parts_at > 0
    assert by_present_rules.last is not None
    assert any(report.tail is not None for report in by_present_rules.last.gates)


async def test_a_stricter_policy_rolls_back_what_was_promoted_and_says_when() -> None:
    made = trial(1, test=Behaviour(wrong=0.1))
    while made.outcome is None:
        made.look()
    assert made.outcome.action is Action.PROMOTE
    strict = demo_policy(
        gates=(
            GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
            GateDraft(
                MetricKind.ACCURACY, required=True, harm=GateMargin(), safe=GateMargin(offset=0.001), weight=50.0
            ),
        ),
        alpha_rollback=0.3,
    )
    found = await replay(replace(made.fleet.terms, policy=strict), recorded(made))
    ending = found.replayed[-1]
    assert (ending.action, ending.gate) == (Action.ROLLBACK, "accuracy"), ending.reason
    assert 0 < found.parts_at <= ending.sequence == found.looks < len(made.looks)
    assert made.started < ending.time <= made.fleet.now
    # What was decided later is told all the same.
    last = found.recorded[-1]
    assert (last.action, last.sequence) == (Action.PROMOTE, len(made.looks))
    assert ending.time < last.time <= made.fleet.now


async def test_a_laxer_policy_promotes_earlier_and_nothing_is_said_of_what_came_after() -> None:
    made = trial(2, demo_terms(plan=demo_plan(1000, 5000)))
    made.run(150)
    lax = demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(2.0, 0.2)),))
    one_step = replace(made.fleet.terms, policy=lax, plan=demo_plan(1000))
    found = await replay(one_step, recorded(made))
    assert [moment.action for moment in found.replayed] == [Action.PROMOTE]
    assert found.looks < len(made.looks)
    assert found.parts_at == found.replayed[0].sequence or found.parts_at < found.looks


async def test_a_step_that_would_have_been_left_is_said_once() -> None:
    made = trial(2, demo_terms(plan=demo_plan(1000, 5000)))
    made.run(150)
    lax = demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(2.0, 0.2)),))
    found = await replay(replace(made.fleet.terms, policy=lax), recorded(made))
    assert [moment.action for moment in found.replayed] == [Action.ADVANCE, Action.PROMOTE]


async def test_looks_that_are_not_kept_any_more_cannot_be_replayed() -> None:
    made = trial(0)
    made.run(4)
    del made.looks[0], made.decisions[0]
    with pytest.raises(CompactedError):
        await replay(made.fleet.terms, recorded(made))


async def test_looks_whose_circumstances_nobody_recorded_cannot_be_replayed() -> None:
    made = trial(0)
    made.run(4)
    made.decisions[2] = replace(made.decisions[2], at=None)
    with pytest.raises(UnknownCircumstancesError):
        await replay(made.fleet.terms, recorded(made))


async def test_a_rollout_without_looks_decides_nothing() -> None:
    made = trial(0)
    made.looks, made.decisions = [], []
    found = await replay(made.fleet.terms, recorded(made))
    assert (found.looks, found.replayed, found.last) == (0, (), None)


def test_circumstances_survive_the_wire() -> None:
    served = (
        Served("v2", False, Serving.FAILED, "out of memory", "LOAD_FAILED"),
        Served("v1", True, Serving.READY),
    )
    at = Circumstances(Phase.PAUSED_BY_DRIFT, 1_700_000_000.25, 12.5, (Worker("w", served), Worker("x", ())), ("h",))
    summary = proto_summary.to_proto(replace(trial(0).decisions[0], at=at))
    assert proto_circumstances.from_proto(summary) == at
    summary.ClearField("circumstances")
    assert proto_circumstances.from_proto(summary) is None


async def test_a_promotion_that_the_registry_refused_does_not_end_the_replay() -> None:
    made = trial(0, demo_terms(plan=demo_plan(5000)))
    while made.outcome is None:
        made.look()
    refused = len(made.looks)
    made.outcome = None
    made.fleet.test.errors = 0.2
    made.run(60)
    assert made.decisions[-1].action is Action.ROLLBACK
    found = await replay(made.fleet.terms, recorded(made))
    assert (found.looks, found.parts_at) == (len(made.looks), 0)
    assert found.looks > refused
    assert [moment.action for moment in found.replayed] == [Action.PROMOTE, Action.ROLLBACK]
