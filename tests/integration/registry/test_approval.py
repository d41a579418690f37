"""Promotions that wait for a person."""

from collections.abc import Awaitable

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan, refused


def held() -> service_pb2.RolloutSpec:
    """One step of 5 %, to be approved."""
    spec = plan(500)
    spec.approval_required = True
    return spec


def approve(
    registry: Registry, rollout: resources_pb2.Rollout, reason: str = "", etag: str = ""
) -> Awaitable[resources_pb2.Rollout]:
    """Approves."""
    return registry.stub.ApproveRollout(
        service_pb2.ApproveRolloutRequest(
            name=rollout.name, etag=etag or rollout.etag, reason=reason, request_id=new_id()
        )
    )


async def test_a_promotion_waits_for_a_person(registry: Registry) -> None:
    rollout = await registry.running(spec=held())
    assert rollout.HasField("approval")
    assert not rollout.approval.actor
    for force in (False, True):
        refusal = await refused(registry.promote(rollout, force=force))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "APPROVAL_MISSING")
        assert "crossfade approve m" in refusal.message
    approved = await approve(registry, rollout, "Ana has looked at the errors.")
    assert (approved.approval.actor, approved.approval.reason) == ("local:user", "Ana has looked at the errors.")
    assert approved.approval.HasField("time")
    assert approved.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert approved.etag != rollout.etag
    event = (await registry.events())[-1]
    assert (event.type, event.reason) == ("ROLLOUT_APPROVED", "Ana has looked at the errors.")
    promoted = await registry.promote(approved)
    assert promoted.state == resources_pb2.ROLLOUT_STATE_PROMOTED
    assert promoted.approval == approved.approval


async def test_it_may_be_given_while_the_rollout_waits_for_its_turn(registry: Registry) -> None:
    await registry.running()
    published = await registry.publish(rollout=held())
    assert published.rollout.state == resources_pb2.ROLLOUT_STATE_QUEUED
    approved = await approve(registry, published.rollout)
    assert approved.state == resources_pb2.ROLLOUT_STATE_QUEUED
    await registry.rollback(await registry.rollout(1))
    begun = await registry.rollout(2)
    assert begun.state == resources_pb2.ROLLOUT_STATE_WAITING_READY
    assert begun.approval.actor == "local:user"


async def test_a_bad_version_is_rolled_back_without_a_person(registry: Registry) -> None:
    rollout = await registry.running(spec=held())
    assert (await registry.rollback(rollout)).state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK


async def test_refusals(registry: Registry) -> None:
    unasked = await registry.running()
    assert (await refused(approve(registry, unasked))).reason == "APPROVAL_UNASKED"
    assert not unasked.HasField("approval")
    rollout = await registry.running("n", spec=held())
    assert (await refused(approve(registry, rollout, etag="old"))).reason == "ETAG_STALE"
    approved = await approve(registry, rollout)
    again = await refused(approve(registry, approved))
    assert (again.reason, "local:user" in again.message) == ("APPROVAL_GIVEN", True)
    ended = await registry.rollback(approved)
    assert (await refused(approve(registry, ended))).reason == "TRANSITION_ILLEGAL"


async def test_a_stable_version_that_was_never_ready_is_not_replaced_without_a_person(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    published = await registry.publish(rollout=held())
    await registry.worker().ready("v2")
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_WAITING_READY
    assert (await approve(registry, published.rollout)).state == resources_pb2.ROLLOUT_STATE_PROMOTED
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE"}


async def test_a_first_version_has_no_rollout_that_could_wait(registry: Registry) -> None:
    await registry.create()
    assert (await refused(registry.publish(rollout=held()))).reason == "APPROVAL_IMPOSSIBLE"
    assert await registry.states() == {}
