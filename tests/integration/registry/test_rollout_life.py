"""The life of versions over RPC: published, tested, paused, promoted, rolled back, cancelled."""

from crossfade.common.v1 import analysis_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import (
    CONTROL,
    FAILED,
    LOADING,
    READY,
    Registry,
    new_id,
    plan,
    signature,
    version,
)


async def test_first_version_is_stable_at_once(registry: Registry) -> None:
    await registry.create()
    published = await registry.publish(version_id="2024-01")
    assert published.version.name == "models/m/versions/2024-01"
    assert published.version.creator == "local:user"
    assert not published.HasField("rollout")
    assert published.note == "2024-01 is the lane's first version and stable at once."
    lane = (await registry.model()).lanes[0]
    assert (lane.stable_version, lane.epoch, lane.previous_version) == ("2024-01", 1, "")
    assert await registry.states() == {"2024-01": "STABLE"}


async def test_second_version_is_tested_and_promoted(registry: Registry) -> None:
    rollout = await registry.running()
    assert rollout.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert (rollout.stable_version, rollout.version, rollout.step) == ("v1", "v2", 0)
    assert rollout.effective_share_bps == 500
    assert rollout.note == "v2 gets 5 % (step 1 of 2)."
    assert rollout.start_time.seconds
    summary = analysis_pb2.Summary(reason="Safe.", gates=[analysis_pb2.GateReport(gate="errors")])
    outcome = resources_pb2.Outcome(reason="It is no worse.", code="SAFE", gate="errors", summary=summary)
    done = await registry.promote(rollout, outcome=outcome)
    assert done.state == resources_pb2.ROLLOUT_STATE_PROMOTED
    assert done.outcome.summary == summary
    assert (done.outcome.code, done.outcome.actor, done.note) == ("SAFE", "local:user", "It is no worse.")
    assert (done.effective_share_bps, done.end_time.seconds > 0) == (0, True)
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE"}
    lane = (await registry.model()).lanes[0]
    assert (lane.stable_version, lane.previous_version, lane.rollout) == ("v2", "v1", "")
    assert done == await registry.rollout(1)


async def test_rollback_is_final(registry: Registry) -> None:
    rollout = await registry.running()
    done = await registry.rollback(rollout, outcome=resources_pb2.Outcome(reason="Worse.", code="VIOLATION"))
    assert done.state == resources_pb2.ROLLOUT_STATE_ROLLED_BACK
    assert await registry.states() == {"v1": "STABLE", "v2": "FAILED"}
    assert (await registry.events())[-1].outcome.code == "VIOLATION"


async def test_advance_pause_resume(registry: Registry) -> None:
    rollout = await registry.running()
    paused = await registry.stub.PauseRollout(
        service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id(), reason="Lunch.")
    )
    assert paused.state == resources_pb2.ROLLOUT_STATE_PAUSED
    assert paused.pause_reason == resources_pb2.PAUSE_REASON_PERSON
    assert (paused.effective_share_bps, paused.note) == (500, "Lunch.")
    resumed = await registry.stub.ResumeRollout(
        service_pb2.ResumeRolloutRequest(name=rollout.name, etag=paused.etag, request_id=new_id())
    )
    assert resumed.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert resumed.step_paused.ToNanoseconds() > 0
    assert not resumed.HasField("pause_time")
    advanced = await registry.stub.AdvanceRollout(
        service_pb2.AdvanceRolloutRequest(
            name=rollout.name, etag=resumed.etag, request_id=new_id(), reason="Clear enough."
        )
    )
    assert (advanced.step, advanced.effective_share_bps) == (1, 5000)
    assert advanced.step_paused.ToNanoseconds() == 0
    types = [event.type for event in await registry.events()]
    assert types[-3:] == ["ROLLOUT_PAUSED", "ROLLOUT_RESUMED", "ROLLOUT_ADVANCED"]


async def test_cancelled_version_is_started_again(registry: Registry) -> None:
    rollout = await registry.running()
    done = await registry.stub.CancelRollout(
        service_pb2.CancelRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id(), inconclusive=True)
    )
    assert done.state == resources_pb2.ROLLOUT_STATE_INCONCLUSIVE
    assert (done.outcome.code, done.outcome.reason) == ("PERSON", "It was ended as inconclusive by local:user.")
    assert await registry.states() == {"v1": "STABLE", "v2": "PENDING"}
    lane = (await registry.model()).lanes[0]
    again = await registry.stub.StartRollout(
        service_pb2.StartRolloutRequest(version="models/m/versions/v2", etag=lane.etag, request_id=new_id())
    )
    # The Worker has it ready still, so it begins at once; its range follows the first one's.
    assert again.name == "models/m/rollouts/2"
    assert again.state == resources_pb2.ROLLOUT_STATE_RUNNING
    assert again.bucket_offset == 500


async def test_publication_while_one_is_tested_waits(registry: Registry) -> None:
    rollout = await registry.running(spec=plan(500))
    third = await registry.publish()
    assert third.note == "v3 waits for rollout 1 (v2, 5 %) and starts by itself."
    assert third.rollout.state == resources_pb2.ROLLOUT_STATE_QUEUED
    fourth = await registry.publish()
    assert fourth.rollout.name == "models/m/rollouts/3"
    superseded = await registry.rollout(2)
    assert superseded.state == resources_pb2.ROLLOUT_STATE_CANCELLED
    assert superseded.outcome.code == "SUPERSEDED"
    await registry.rollback(rollout)
    next_one = await registry.rollout(3)
    assert next_one.state == resources_pb2.ROLLOUT_STATE_WAITING_READY
    assert await registry.states() == {"v1": "STABLE", "v2": "FAILED", "v3": "PENDING", "v4": "TESTING"}


async def test_waiting_rollout_can_be_cancelled(registry: Registry) -> None:
    await registry.running()
    third = await registry.publish()
    done = await registry.stub.CancelRollout(
        service_pb2.CancelRolloutRequest(name=third.rollout.name, etag=third.rollout.etag, request_id=new_id())
    )
    assert done.state == resources_pb2.ROLLOUT_STATE_CANCELLED
    assert (await registry.states())["v3"] == "PENDING"


async def test_publication_without_rollout(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    published = await registry.publish(without_rollout=True)
    assert not published.HasField("rollout")
    assert await registry.states() == {"v1": "STABLE", "v2": "PENDING"}
    # Nor is it said to have the one that another version has.
    assert (await registry.publish(rollout=plan(500))).rollout.version == "v3"
    assert not (await registry.publish(without_rollout=True)).HasField("rollout")


async def test_stable_version_that_never_got_ready_is_replaced(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    worker.set("v1", FAILED, error_code="LOAD_FAILED")
    await worker.report()
    published = await registry.publish()
    worker.set("v2", LOADING)
    await worker.report()
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_WAITING_READY
    worker.set("v2", READY)
    await worker.report()
    done = await registry.rollout(1)
    assert done.name == published.rollout.name
    assert (done.state, done.outcome.code) == (resources_pb2.ROLLOUT_STATE_PROMOTED, "STABLE_NEVER_READY")
    assert await registry.states() == {"v1": "DEPRECATED", "v2": "STABLE"}
    assert (await registry.events())[-1].actor == "registry"


async def test_rollout_waits_for_the_control_process(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    await registry.publish()
    worker.set("v2", READY)
    worker.set("v1", LOADING, CONTROL)
    await worker.report()
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_WAITING_READY
    worker.set("v1", READY, CONTROL)
    await worker.report()
    assert (await registry.rollout(1)).state == resources_pb2.ROLLOUT_STATE_RUNNING


async def test_lanes_are_apart(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    second = await registry.publish(segment="eu")
    lanes = (await registry.model()).lanes
    assert [(lane.segment, lane.stable_version) for lane in lanes] == [("", "v1"), ("eu", "v1")]
    assert second.rollout.segment == "eu"
    assert [(one.segment, one.state) for one in second.version.states] == [("eu", resources_pb2.VERSION_STATE_TESTING)]
    # The same version may be tested in another lane as well.
    lane = (await registry.model()).lanes[0]
    other = await registry.stub.StartRollout(
        service_pb2.StartRolloutRequest(version="models/m/versions/v2", etag=lane.etag, request_id=new_id())
    )
    assert other.segment == ""
    version = await registry.stub.GetVersion(service_pb2.GetVersionRequest(name="models/m/versions/v2"))
    assert [(one.segment, one.state) for one in version.states] == [
        ("", resources_pb2.VERSION_STATE_TESTING),
        ("eu", resources_pb2.VERSION_STATE_TESTING),
    ]


async def test_a_waiting_version_is_compared_again_with_what_became_stable_meanwhile(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    wide = version()
    wide.signature.CopyFrom(signature(width=8))
    second = await registry.publish(version=wide, allow_incompatible=True, rollout=plan(500))
    await worker.ready("v1", "v2", control="v1")
    third = await registry.publish()
    assert third.rollout.state == resources_pb2.ROLLOUT_STATE_QUEUED
    await registry.promote(await registry.rollout(1), force=True)
    ended = await registry.rollout(2)
    assert (ended.state, ended.outcome.code) == (resources_pb2.ROLLOUT_STATE_CANCELLED, "SIGNATURE_INCOMPATIBLE")
    assert "input x had the shape [-1, 8] and has [-1, 4]" in ended.outcome.reason
    assert (await registry.states())["v3"] == "PENDING"
    # With the callers' consent it may be started all the same.
    lane = (await registry.model()).lanes[0]
    await registry.stub.StartRollout(
        service_pb2.StartRolloutRequest(
            version=third.version.name, allow_incompatible=True, etag=lane.etag, request_id=new_id()
        )
    )
    assert second.version.name.endswith("v2")
