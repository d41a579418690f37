"""A/A at a real Registry: the judge judges itself, of a rollout without a runtime gate, and nobody notices."""

import asyncio
import re
import sys
from collections.abc import Iterable

from grpc import aio

from crossfade.common.v1 import analysis_pb2, policy_pb2
from crossfade.evaluator.v1 import evaluator_pb2, evaluator_pb2_grpc
from crossfade.registry.v1 import resources_pb2, service_pb2
from evaluator.app import App
from services.common.policy.drafts import GateDraft
from services.common.policy.metrics import MetricKind
from services.common.policy.records import GateMargin
from tests.fakes.metrics import Behaviour
from tests.integration.evaluator.conftest import MakeScene
from tests.integration.evaluator.scene import MODEL, Scene, quick_terms
from tests.integration.evaluator.test_rollouts_over_grpc import ended
from tests.support.wait import until_async

NAME = f"models/{MODEL}/rollouts/1"
GATES = (
    GateDraft(MetricKind.ERRORS, required=True, safe=GateMargin(1.5, 0.01)),
    GateDraft(MetricKind.ACCURACY, required=True, harm=GateMargin(1.0, 0.01), safe=GateMargin(1.0, 0.03)),
)


async def judge_itself(app: App) -> evaluator_pb2.ReplayResponse:
    async with aio.insecure_channel(app.address) as channel:
        request = evaluator_pb2.ReplayRequest(name=NAME, against_itself=True)
        return await evaluator_pb2_grpc.EvaluatorServiceStub(channel).Replay(request)


async def routes(scene: Scene) -> list[service_pb2.WatchRoutesResponse]:
    """All that Routers are told, with its revision."""
    call = scene.stub.WatchRoutes(service_pb2.WatchRoutesRequest())
    found = []
    try:
        async for part in call:
            found.append(part)
            if not part.more:
                break
    finally:
        call.cancel()
    return found


async def kept(scene: Scene) -> tuple[object, ...]:
    """All that the Registry has of the lane but its looks."""
    model = await scene.stub.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
    rollout = await scene.rollout()
    rollout.ClearField("analysis_sequence")
    return model, rollout, await scene.events(), await routes(scene)


async def asked(scene: Scene, app: App) -> evaluator_pb2.ReplayResponse:
    """What the judge says, after which all is as it was."""
    before = await kept(scene)
    found = await judge_itself(app)
    assert await kept(scene) == before
    assert [(one.gate, one.metric) for one in found.last.gates] == [
        ("errors", policy_pb2.METRIC_ERRORS),
        ("accuracy", policy_pb2.METRIC_ACCURACY),
    ]
    return found


async def passed(scene: MakeScene, control: Behaviour | None = None) -> tuple[Scene, App]:
    """A rollout that has passed, and waits for a person."""
    made = await scene(quick_terms(1000, gates=GATES))
    made.approved, made.fleet.control = True, control
    app = await made.evaluate()
    await made.publish()

    async def waits() -> bool:
        return (await made.looks())[-1].summary.verdict == analysis_pb2.VERDICT_PASS

    await until_async(waits, seconds=30)
    return made, app


def attempts_of(looks: Iterable[analysis_pb2.Analysis], *traffic: str) -> int:
    """Attempts at v1 that were judged."""
    return sum(
        sum(one.counts)
        for look in looks
        if look.judged
        for instance in look.window.instances
        for one in instance.series
        if one.metric == "crossfade.attempt.duration"
        and (one.attributes["version"], one.attributes["epoch"]) == ("v1", str(look.epoch))
        and one.attributes["traffic"] in traffic
    )


async def ask_by_command(scene: Scene, app: App) -> str:
    addresses = ("--registry", scene.registry, "--evaluator", app.address)
    command = (sys.executable, "-m", "crossfade.cli", *addresses, "--user", "ana", "replay", MODEL, "--itself")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return said.decode()


async def test_a_live_rollout_without_a_runtime_gate_is_reported_on_and_left_as_it_was(scene: MakeScene) -> None:
    made, app = await passed(scene)
    found = await asked(made, app)
    looks = (await made.looks())[: found.looks]
    assert list(found.replayed) == []
    assert found.last.reason.startswith("no gate finds v1 worse than itself")
    errors, accuracy = found.last.gates
    assert (errors.test.n, errors.baseline.n) == (attempts_of(looks, "control"), attempts_of(looks, "live"))
    assert 0 < accuracy.test.n < accuracy.baseline.n
    # The rollout goes its own way, and is reported on when it has ended, too.
    await made.approve()
    rollout = await made.until(ended)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason
    found = await asked(made, app)
    assert found.looks == rollout.outcome.analysis_sequence
    before = await kept(made)
    first, *gates, last = (await ask_by_command(made, app)).splitlines()
    assert await kept(made) == before
    assert first == (
        f"Rollout 1, A/A: v1's control arm against the rest of v1, {found.looks} looks by the policy of the rollout."
    )
    assert [re.sub(r"[\d,]+", "N", line) for line in gates] == [
        "  errors: harm N % of its bar (N against N)",
        "  accuracy: harm N % of its bar (N against N)",
    ]
    assert last.startswith("No gate finds v1 worse than itself")


async def test_a_judge_that_is_misled_says_so_and_rolls_nothing_back(scene: MakeScene) -> None:
    made, app = await passed(scene, control=Behaviour(errors=0.1))

    async def is_found() -> bool:
        # Three looks have to agree, and the version may have passed by fewer.
        return bool((await judge_itself(app)).replayed)

    await until_async(is_found, seconds=30)
    (moment,) = (await asked(made, app)).replayed
    assert (moment.action, moment.gate) == (analysis_pb2.ACTION_ROLLBACK, "errors")
    assert moment.reason.startswith("v1's control failed ")
    # The control arm is a part of stable, by which v2 is judged.
    await made.approve()
    rollout = await made.until(ended)
    assert rollout.state == resources_pb2.ROLLOUT_STATE_PROMOTED, rollout.outcome.reason
    assert [one.action for one in (await asked(made, app)).replayed] == [analysis_pb2.ACTION_ROLLBACK]
