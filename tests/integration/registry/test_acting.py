"""Processes act by what they have looked at: none of them passes for a person."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Refusal, Registry, Secured, new_id, refused

NAME = "models/m"


async def undo(registry: Registry, **more: Any) -> resources_pb2.Lane:
    etag = (await registry.model()).lanes[0].etag
    request = service_pb2.UndoLaneRequest(model=NAME, etag=etag, request_id=new_id(), **more)
    return await registry.stub.UndoLane(request)


Act = Callable[[Registry, resources_pb2.Rollout, dict[str, Any]], Awaitable[object]]


def transition(rpc: str) -> Act:
    def act(registry: Registry, rollout: resources_pb2.Rollout, said: dict[str, Any]) -> Awaitable[object]:
        request = getattr(service_pb2, f"{rpc}Request")
        call: Awaitable[object] = getattr(registry.stub, rpc)(
            request(name=rollout.name, etag=rollout.etag, request_id=new_id(), **said)
        )
        return call

    return act


TRANSITIONS = [f"{verb}Rollout" for verb in ("Advance", "Pause", "Resume", "Promote", "Rollback", "Cancel")]


@pytest.mark.parametrize("rpc", TRANSITIONS)
async def test_an_evaluator_moves_no_rollout_without_a_look(secured: Secured, rpc: str) -> None:
    rollout = await secured.rollout()
    refusal = await refused(transition(rpc)(secured.evaluator, rollout, {}))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "ROLE_MISSING")
    assert "analysis_sequence" in refusal.message
    assert await secured.rollout() == rollout


@pytest.mark.parametrize("rpc", ["AdvanceRollout", "PromoteRollout"])
async def test_an_evaluator_forces_nothing(secured: Secured, rpc: str) -> None:
    rollout = await secured.rollout()
    await secured.evaluator.look(rollout, 1)
    said = {"analysis_sequence": 1, "force": True}
    refusal = await refused(transition(rpc)(secured.evaluator, rollout, said))
    assert (refusal.reason, "force" in refusal.message) == ("ROLE_MISSING", True)
    assert (await secured.rollout()).state == rollout.state


async def test_an_evaluator_undoes_by_its_monitors_look_alone(secured: Secured) -> None:
    def denied(refusal: Refusal) -> bool:
        return (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "ROLE_MISSING")

    assert denied(await refused(undo(secured.evaluator)))
    assert denied(await refused(undo(secured.evaluator, monitor_sequence=1, force=True)))
    # What the monitor's look allows is asked next.
    assert (await refused(undo(secured.evaluator, monitor_sequence=1))).reason == "MONITOR_DISARMED"


async def test_it_acts_by_its_looks_and_a_person_without(secured: Secured) -> None:
    rollout = await secured.rollout()
    pause = transition("PauseRollout")
    await pause(secured.operator, rollout, {})
    await secured.evaluator.look(rollout, 1)
    paused = await secured.rollout()
    # What a person has paused only a person resumes.
    resume = transition("ResumeRollout")
    refusal = await refused(resume(secured.evaluator, paused, {"analysis_sequence": 1}))
    assert refusal.code == "FAILED_PRECONDITION"
    await resume(secured.operator, paused, {})
    await secured.evaluator.look(rollout, 2)
    await transition("RollbackRollout")(secured.evaluator, await secured.rollout(), {"analysis_sequence": 2})
    assert (await secured.rollout()).state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK
