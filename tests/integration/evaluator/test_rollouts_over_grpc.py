"""Evaluators against a real Registry and real metric servers: decisions and kills."""

import asyncio
import re

import pytest

from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.registry.v1 import resources_pb2
from evaluator.evidence.fold import fold_all
from evaluator.rpc import proto_views
from evaluator.rpc.registry_client import RegistryClient
from evaluator.verdict.decision import Action, Decision
from evaluator.verdict.reports import Verdict
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, Limit, Objective
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, Scene, attempts, quick_terms

PROMOTED = resources_pb2.ROLLOUT_STATE_PROMOTED
ROLLED_BACK = resources_pb2.ROLLOUT_STATE_ROLLED_BACK
INCONCLUSIVE = resources_pb2.ROLLOUT_STATE_INCONCLUSIVE


def ended(rollout: resources_pb2.Rollout) -> bool:
    return rollout.HasField("end_time")


async def check_that_each_count_is_in_one_window(scene: Scene) -> list[analysis_pb2.Analysis]:
    """v2 counted from zero within the rollout, so its windows add up to its cursor."""
    looks = await scene.looks()
    assert [look.sequence for look in looks] == list(range(1, len(looks) + 1))
    counted = sum(attempts(look.window, "v2") for look in looks)
    assert counted == attempts(looks[-1].cursor, "v2")
    assert counted > 0
    return looks


async def test_a_good_version_goes_through_its_steps_and_is_promoted(scene: MakeScene) -> None:
    made = await scene(quick_terms(1000, 5000))
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert rollout.state == PROMOTED, rollout.outcome.reason
    assert (rollout.step, rollout.outcome.code) == (1, "SAFE")
    assert rollout.outcome.reason.startswith("v2 is no worse than v1: ")
    assert rollout.outcome.actor == "local:evaluator"
    looks = await check_that_each_count_is_in_one_window(made)
    assert rollout.outcome.analysis_sequence == looks[-1].sequence
    assert not looks[0].judged
    assert looks[0].summary.reason == "waits until a Worker has v2 loaded, verified and warm"
    assert looks[-1].summary.drift.test_rows > 100
    actions = [look.summary.action for look in looks if look.summary.action]
    assert actions == [analysis_pb2.ACTION_ADVANCE, analysis_pb2.ACTION_PROMOTE]
    assert [look.step for look in looks] == sorted(look.step for look in looks)


async def test_a_decision_with_much_to_say_is_carried_out(scene: MakeScene) -> None:
    made = await scene(quick_terms(1000))
    await made.publish()
    registry = RegistryClient(made.channel, lambda: (), timeout=5.0)
    reason = "v2 failed for callers in one of many segments \0; " * 200
    decision = Decision(Action.ROLLBACK, Verdict.FAIL, reason, "VIOLATION", "errors")
    view = await registry.rollout(f"models/{MODEL}/rollouts/1")
    await registry.act(view, view.sequence, decision)
    rollout = await made.rollout()
    assert (rollout.state, len(rollout.outcome.reason)) == (ROLLED_BACK, 4_000)
    assert rollout.outcome.reason.endswith("…")


async def test_the_recorded_windows_alone_give_the_recorded_evidence(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000))
    made.fleet.test = Behaviour(seconds=0.01)
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.gate) == (ROLLED_BACK, "runtime"), rollout.outcome.reason
    looks = await made.looks()
    state = fold_all(made.terms, [proto_views.look(look) for look in looks])
    assert looks[-1].policy_hash == made.terms.policy_hash()
    recorded = {report.gate: report for report in looks[-1].summary.gates}
    for gate in state.gates:
        report = recorded[gate.gate.name]
        assert (gate.harm.max_log_e, gate.safe.log_e) == (report.harm.log_e, report.safe.log_e)


async def test_a_version_that_misses_one_class_is_rolled_back_by_its_recall(scene: MakeScene) -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(MetricKind.RECALL, required=True, safe=GateMargin(offset=0.04), positive="3"),
    )
    made = await scene(quick_terms(1000, gates=gates))
    made.fleet.positives, made.fleet.test = 0.3, Behaviour(missed=0.3)
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.gate) == (ROLLED_BACK, "recall"), rollout.outcome.reason
    assert re.match(r"v2 missed [\d.]+ % of [\d,]+ rows that are 3 and v1 ", rollout.outcome.reason)
    report = rollout.outcome.summary.gates[1]
    assert (report.metric, report.positive_class) == (policy_pb2.METRIC_RECALL, "3")
    assert report.baseline.estimate == pytest.approx(0.08, abs=0.03)


async def test_a_version_that_is_as_slow_as_stable_and_slower_than_the_limit_is_rolled_back(scene: MakeScene) -> None:
    gates = (
        GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
        GateDraft(MetricKind.RUNTIME, required=True, limit=Limit(seconds=0.0015)),
    )
    made = await scene(quick_terms(1000, gates=gates))
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.gate) == (ROLLED_BACK, "runtime limit"), rollout.outcome.reason
    assert re.fullmatch(
        r"v2's batches took a mean of [12](?:\.\d+)? ms \([\d,]+ batches\); a mean of at most 1.5 ms is allowed",
        rollout.outcome.reason,
    )
    report = rollout.outcome.summary.gates[1]
    assert report.limit.duration.nanos == 1_500_000
    assert report.test.estimate == pytest.approx(0.002, rel=0.1)
    assert report.low < report.difference < report.high


AB_GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(MetricKind.ACCURACY, primary=True),
)


async def test_an_ab_test_promotes_the_better_version(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000, gates=AB_GATES, objective=Objective.SUPERIOR))
    made.fleet.test = Behaviour(wrong=0.04)
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.code) == (PROMOTED, "SUPERIOR"), rollout.outcome.reason
    assert rollout.objective == policy_pb2.OBJECTIVE_SUPERIOR
    assert rollout.outcome.reason.startswith("v2 is better than v1 in accuracy: v2 was wrong on ")
    assert [report.primary for report in rollout.outcome.summary.gates] == [False, True]


async def test_an_ab_test_without_a_winner_leaves_stable_where_it_is(scene: MakeScene) -> None:
    # At the default level one of twenty versions alike wins by chance, as it may.
    terms = quick_terms(5000, period=3.0, gates=AB_GATES, objective=Objective.SUPERIOR, alpha_promote=1e-6)
    made = await scene(terms)
    await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.code) == (INCONCLUSIVE, "NO_WINNER"), rollout.outcome.reason
    assert "v2 was not shown to be better than v1 in accuracy" in rollout.outcome.reason


async def test_evaluators_that_are_killed_lose_and_repeat_nothing(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000))
    app = await made.evaluate()
    await made.publish()
    for looks in (2, 3, 4):
        await made.until(lambda rollout, looks=looks: rollout.analysis_sequence >= looks or ended(rollout))  # type: ignore[misc] # binds the loop's value
        for task in app._tasks:
            task.cancel()
        app = await made.evaluate()
    rollout = await made.until(ended)
    assert rollout.state == PROMOTED, rollout.outcome.reason
    await check_that_each_count_is_in_one_window(made)


async def test_metrics_that_are_gone_hold_the_rollout_and_say_why(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000, period=2.0))
    made.fleet.labelled = 0.0
    await made.evaluate()
    await made.publish_only(made.terms.test_profile)
    await made.until(lambda rollout: rollout.analysis_sequence >= 1)
    # Before the period begins, so that by its end they are old enough, however few looks a busy machine takes.
    worker = next(server for server in made.servers if server.instance.worker)
    await worker.stop()
    await made.load()
    rollout = await made.until(ended)
    assert rollout.state == INCONCLUSIVE
    assert "metrics of 50.0 % of the processes are younger than 1 s" in rollout.outcome.reason
    looks = await made.looks()
    assert any("did not answer" in hold for look in looks for hold in look.summary.holds)


async def test_a_version_that_fails_to_load_is_rolled_back_without_statistics(scene: MakeScene) -> None:
    made = await scene(quick_terms(500))
    await made.evaluate()
    made.ready("v2", state=resources_pb2.SERVING_STATE_FAILED, error_code="LOAD_FAILED")
    await made.publish_only(made.terms.test_profile)
    await made.report()
    rollout = await made.until(ended)
    assert (rollout.state, rollout.outcome.code) == (ROLLED_BACK, "LOAD_FAILED")
    assert rollout.outcome.reason == "v2 could not be loaded by the Worker that tried: out of memory"


async def test_a_drift_in_both_arms_pauses_and_its_end_resumes(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000))
    made.fleet.shift = 0.5
    await made.evaluate()
    await made.publish()
    paused = await made.until(lambda rollout: rollout.state == resources_pb2.ROLLOUT_STATE_PAUSED)
    assert paused.pause_reason == resources_pb2.PAUSE_REASON_INPUT_DRIFT
    await asyncio.sleep(0.3)
    made.fleet.shift = 0.0
    rollout = await made.until(ended)
    assert rollout.state == PROMOTED, rollout.outcome.reason
