"""The end of a period with too little evidence: what the policy asks for then, at a real Registry."""

import asyncio
import re
import uuid

import pytest
from grpc import StatusCode, aio

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin, PeriodEnd
from services.common.policy.timing import check_times
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, Scene, quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import ended

PERIOD = 3.0
GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    # It takes many thousands of labels to show that a version has no point more wrong answers.
    GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.005), safe=GateMargin(1.0, 0.01)),
)
TOO_LITTLE = re.compile(
    r"the period ended with too little evidence: (?:errors .+; )?"
    # How many it takes was never fixed where a busy machine took so few looks that stable's past has no hundred labels.
    r"accuracy has [\d,]+ labels of v2 in this step(?:, and (?:[\d,]+ are needed|no number is enough) to see a harm"
    # Of the hundred labels by which it was fixed at first some say that fewer would do, and of so few in this step some
    # that none would.
    r"(?: as things are \([\d,]+ as they were at the start\))?)?(.*)"
)
ASKED_FOR = {
    PeriodEnd.ROLLBACK: "; the policy asks for a rollback then",
    PeriodEnd.INCONCLUSIVE: "",
    PeriodEnd.HOLD: "; it goes on, as the policy asks",
}


async def begun(scene: MakeScene, end: PeriodEnd) -> Scene:
    """A rollout of a version like stable, with so few labels that nothing shows in a period."""
    made = await scene(quick_terms(1000, period=PERIOD, gates=GATES, period_end=end))
    # The Registry takes such a plan, whatever becomes of it: something is judged in it.
    assert not check_times(made.terms.policy, made.terms.plan)
    made.fleet.rate = 1_000.0
    await made.evaluate()
    await made.publish()
    return made


async def lane_of(scene: Scene) -> resources_pb2.Lane:
    model = await scene.stub.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
    (lane,) = model.lanes
    return lane


def states(lane: resources_pb2.Lane) -> dict[str, str]:
    name = resources_pb2.VersionState.Name
    return {one.version: name(one.state).removeprefix("VERSION_STATE_") for one in lane.versions}


async def start_again(scene: Scene) -> resources_pb2.Rollout:
    request = service_pb2.StartRolloutRequest(
        version=f"models/{MODEL}/versions/v2", etag=(await lane_of(scene)).etag, request_id=str(uuid.uuid4())
    )
    return await scene.stub.StartRollout(request)


@pytest.mark.parametrize(
    ("end", "state", "of_v2", "action"),
    [
        (PeriodEnd.ROLLBACK, "ROLLED_BACK", "FAILED", analysis_pb2.ACTION_ROLLBACK),
        (PeriodEnd.INCONCLUSIVE, "INCONCLUSIVE", "PENDING", analysis_pb2.ACTION_CANCEL),
    ],
    ids=["rollback", "default"],
)
async def test_a_rollout_that_has_shown_nothing_ends_as_its_policy_asks(
    scene: MakeScene, end: PeriodEnd, state: str, of_v2: str, action: "analysis_pb2.Action.ValueType"
) -> None:
    made = await begun(scene, end)
    rollout = await made.until(ended)
    assert resources_pb2.RolloutState.Name(rollout.state) == f"ROLLOUT_STATE_{state}", rollout.outcome.reason
    lasted = rollout.end_time.ToMicroseconds() - rollout.step_start_time.ToMicroseconds()
    assert lasted / 1e6 >= PERIOD
    outcome = rollout.outcome
    assert (outcome.code, outcome.gate, outcome.actor) == ("TOO_LITTLE_EVIDENCE", "", "local:evaluator")
    said = TOO_LITTLE.fullmatch(outcome.reason)
    assert said is not None, outcome.reason
    assert said[1] == ASKED_FOR[end]
    looks = await made.looks()
    assert outcome.analysis_sequence == len(looks)
    assert str(outcome.summary) == str(looks[-1].summary)
    assert (outcome.summary.verdict, outcome.summary.action) == (analysis_pb2.VERDICT_INCONCLUSIVE, action)
    assert not any(look.summary.action for look in looks[:-1])
    # All of the traffic is stable's again.
    lane = await lane_of(made)
    assert (lane.stable_version, lane.rollout, lane.test_share_bps, lane.control_share_bps) == ("v1", "", 0, 0)
    assert states(lane) == {"v1": "STABLE", "v2": of_v2}
    (event, *_) = await made.events()
    assert (event.type, event.reason) == (f"ROLLOUT_{state}", outcome.reason)
    # What was rolled back has failed for good; what was inconclusive may be tried again, and nobody but a person does.
    if of_v2 == "PENDING":
        assert (await start_again(made)).name == f"models/{MODEL}/rollouts/2"
    else:
        with pytest.raises(aio.AioRpcError) as refused:
            await start_again(made)
        assert refused.value.code() is StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("changed", "state", "code", "of_v2"),
    [
        (Behaviour(wrong=0.01), "PROMOTED", "SAFE", {"v1": "DEPRECATED", "v2": "STABLE"}),
        (Behaviour(errors=0.2), "ROLLED_BACK", "VIOLATION", {"v1": "STABLE", "v2": "FAILED"}),
    ],
    ids=["safe", "harmful"],
)
async def test_a_rollout_that_is_held_goes_on_after_its_period_until_its_evidence_decides(
    scene: MakeScene, changed: Behaviour, state: str, code: str, of_v2: dict[str, str]
) -> None:
    made = await begun(scene, PeriodEnd.HOLD)
    held: list[analysis_pb2.Analysis] = []
    async with asyncio.timeout(30):
        while len(held) < 3:
            await asyncio.sleep(0.1)
            held = [look for look in await made.looks() if TOO_LITTLE.fullmatch(look.summary.reason)]
    for look in held:
        assert look.summary.circumstances.elapsed_seconds >= PERIOD
        assert look.summary.reason.endswith(ASKED_FOR[PeriodEnd.HOLD])
        assert (look.summary.verdict, look.summary.action) == (analysis_pb2.VERDICT_CONTINUE, 0)
    rollout, lane = await made.rollout(), await lane_of(made)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert (lane.rollout, lane.test_share_bps, states(lane)) == (rollout.name, 1000, {"v1": "STABLE", "v2": "TESTING"})
    made.fleet.test = changed
    rollout = await made.until(ended)
    assert resources_pb2.RolloutState.Name(rollout.state) == f"ROLLOUT_STATE_{state}", rollout.outcome.reason
    assert rollout.outcome.code == code
    assert states(await lane_of(made)) == of_v2
