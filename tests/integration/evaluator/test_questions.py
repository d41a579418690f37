"""Replay and forecast over real gRPC: a real Registry, real metric servers, a real Evaluator."""

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.registry.v1 import resources_pb2
from evaluator.app import App
from services.common.policy.drafts import GateDraft
from services.common.policy.messages import plan_message, policy_message
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.metrics import Behaviour
from tests.fakes.rollouts import demo_policy
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, quick_terms

NAME = f"models/{MODEL}/rollouts/1"


def ended(rollout: resources_pb2.Rollout) -> bool:
    return rollout.HasField("end_time")


async def replay(app: App, request: evaluator_pb2.ReplayRequest) -> evaluator_pb2.ReplayResponse:
    async with aio.insecure_channel(app.address) as channel:
        return await evaluator_pb2_grpc.EvaluatorServiceStub(channel).Replay(request)


async def forecast(app: App, request: evaluator_pb2.ForecastRequest) -> evaluator_pb2.ForecastResponse:
    async with aio.insecure_channel(app.address) as channel:
        return await evaluator_pb2_grpc.EvaluatorServiceStub(channel).Forecast(request)


async def test_a_rollout_is_replayed_to_the_bit_and_under_another_policy(scene: MakeScene) -> None:
    made = await scene(quick_terms(1000, 5000))
    app = await made.evaluate()
    await made.publish()
    rollout = await made.until(ended)
    looks = await made.looks()
    found = await replay(app, evaluator_pb2.ReplayRequest(name=NAME))
    assert (found.looks, found.parts_at) == (len(looks), 0)
    assert [one.action for one in found.replayed] == [analysis_pb2.ACTION_ADVANCE, analysis_pb2.ACTION_PROMOTE]
    assert found.replayed == found.recorded
    assert found.replayed[-1].reason == rollout.outcome.reason
    # Every float of the recorded conclusion.
    assert found.last.SerializeToString(deterministic=True) == looks[-1].summary.SerializeToString(deterministic=True)
    strict = demo_policy(gates=(GateDraft(MetricKind.ERRORS, required=True, harm=GateMargin(1, 0), weight=1.0),))
    asked = evaluator_pb2.ReplayRequest(name=NAME, policy=policy_message(strict), plan=plan_message(made.terms.plan))
    other = await replay(app, asked)
    itself = await replay(app, evaluator_pb2.ReplayRequest(name=NAME, against_itself=True))
    assert (itself.looks, len(itself.replayed)) == (found.looks, 0)
    assert itself.last.reason.startswith("no gate finds v1 worse than itself")
    assert 0 < other.parts_at <= other.looks <= len(looks)
    assert [report.gate for report in other.last.gates] == ["errors"]


async def test_a_policy_that_cannot_be_replayed_by_is_told_what_is_wrong(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000))
    made.fleet.test = Behaviour(errors=0.05)
    app = await made.evaluate()
    await made.publish()
    await made.until(ended)
    wrong = policy_pb2.Policy(
        gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_RECALL, required=True, positive_class="9")]
    )
    found = await replay(app, evaluator_pb2.ReplayRequest(name=NAME, policy=wrong))
    assert [one.field for one in found.violations] == ["policy.gates[0].positive_class"]
    assert found.looks == 0
    for name, code in ((f"models/{MODEL}/rollouts/9", "NOT_FOUND"), ("rollout 9", "INVALID_ARGUMENT")):
        with pytest.raises(aio.AioRpcError) as caught:
            await replay(app, evaluator_pb2.ReplayRequest(name=name))
        assert caught.value.code().name == code


async def test_a_rollout_that_has_not_begun_has_nothing_to_replay(scene: MakeScene) -> None:
    made = await scene(quick_terms(5000))
    app = await made.evaluate()
    await made.publish_only(made.terms.test_profile)
    await made.publish_only(made.terms.test_profile)
    with pytest.raises(aio.AioRpcError) as caught:
        await replay(app, evaluator_pb2.ReplayRequest(name=f"models/{MODEL}/rollouts/2"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "nobody has looked at" in (caught.value.details() or "")


async def test_a_forecast_is_of_the_traffic_that_flows(scene: MakeScene) -> None:
    made = await scene(quick_terms(1000, 5000))
    # So many that chance hardly moves their share of errors, whatever part of them a busy machine counts.
    made.fleet.rate = 16_000.0
    app = await made.evaluate()
    request = evaluator_pb2.ForecastRequest(
        model=f"models/{MODEL}",
        policy=policy_message(made.terms.policy),
        plan=plan_message(made.terms.plan),
        harms=[evaluator_pb2.Harm(gate="errors", by=0.05)],
        watch=Duration(seconds=1),
    )
    found = await forecast(app, request)
    assert found.stable == "v1"
    assert 1_000 < found.attempts_per_second < 64_000
    assert found.labels_per_second > 1000
    assert [step.step.share_bps for step in found.steps] == [1000, 5000]
    errors = found.steps[0].gates[0]
    assert (errors.gate, errors.by) == ("errors", 0.05)
    assert errors.stable == pytest.approx(0.002, abs=0.002)
    assert 0 < errors.harm.n < 2_000
    assert found.steps[0].concludes
    request.plan.steps[0].share_bps = request.plan.steps[1].share_bps = 1
    late = (await forecast(app, request)).steps[1]
    assert not late.concludes
    assert 1 < late.larger_share_bps <= 5_000
    request.policy.settling.FromSeconds(3600)
    assert [one.field for one in (await forecast(app, request)).violations] == [
        "plan.steps[0].period",
        "plan.steps[1].period",
    ]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"model": "digits"}, "INVALID_ARGUMENT", "write models/MODEL"),
        ({"model": "models/nobody"}, "NOT_FOUND", "nobody"),
        ({"segment": "eu"}, "NOT_FOUND", "digits does not have the lane of segment eu; `crossfade status digits`"),
        ({"version": "v9"}, "NOT_FOUND", "v9"),
        ({"watch": Duration(seconds=300)}, "INVALID_ARGUMENT", "1 s to 60 s"),
        ({"harms": [evaluator_pb2.Harm(gate="speed", by=0.1)]}, "INVALID_ARGUMENT", "no gate 'speed', but errors"),
        ({"harms": [evaluator_pb2.Harm(gate="error", by=0.02)]}, "INVALID_ARGUMENT", "; write errors=0.02"),
        ({"harms": [evaluator_pb2.Harm(gate="f1", by=0.02)]}, "INVALID_ARGUMENT", "; write accuracy=0.02"),
        ({"harms": [evaluator_pb2.Harm(gate="errors", by=1.5)]}, "INVALID_ARGUMENT", "above 0, below 1"),
    ],
)
async def test_what_cannot_be_forecast_is_refused(
    scene: MakeScene, change: dict[str, object], code: str, words: str
) -> None:
    made = await scene(quick_terms(5000))
    app = await made.evaluate()
    fields: dict[str, object] = {"model": f"models/{MODEL}", "watch": Duration(seconds=1)}
    with pytest.raises(aio.AioRpcError) as caught:
        await forecast(app, evaluator_pb2.ForecastRequest(**(fields | change)))  # type: ignore[arg-type] # fields by name
    assert caught.value.code().name == code
    assert words in (caught.value.details() or "")
