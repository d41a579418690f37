"""Every error that the contract names, with its code, its reason and advice."""

from collections.abc import Awaitable, Callable

import pytest

from crossfade.common.v1 import policy_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, new_id, plan, refused, signature, version

Call = Callable[[Registry], Awaitable[object]]

MISSING: list[tuple[str, Call]] = [
    ("MODEL_NOT_FOUND", lambda r: r.model("x")),
    ("MODEL_NOT_FOUND", lambda r: r.publish("x")),
    ("MODEL_NOT_FOUND", lambda r: r.rollout(1, "x")),
    ("MODEL_NOT_FOUND", lambda r: r.events("x")),
    ("MODEL_NOT_FOUND", lambda r: r.stub.ListVersions(service_pb2.ListVersionsRequest(parent="models/x"))),
    ("MODEL_NOT_FOUND", lambda r: r.stub.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/x"))),
    ("VERSION_NOT_FOUND", lambda r: r.stub.GetVersion(service_pb2.GetVersionRequest(name="models/m/versions/v9"))),
    ("ROLLOUT_NOT_FOUND", lambda r: r.rollout(9)),
    ("ROLLOUT_NOT_FOUND", lambda r: r.look(resources_pb2.Rollout(name="models/m/rollouts/9"), 1)),
    (
        "ROLLOUT_NOT_FOUND",
        lambda r: r.stub.ListAnalyses(service_pb2.ListAnalysesRequest(parent="models/m/rollouts/9")),
    ),
    ("ROLLOUT_NOT_FOUND", lambda r: r.promote(resources_pb2.Rollout(name="models/m/rollouts/9", etag="e"))),
    (
        "VERSION_NOT_FOUND",
        lambda r: r.stub.StartRollout(
            service_pb2.StartRolloutRequest(version="models/m/versions/v9", etag="e", request_id=new_id())
        ),
    ),
    (
        "LANE_NOT_FOUND",
        lambda r: r.stub.StartRollout(
            service_pb2.StartRolloutRequest(version="models/m/versions/v1", segment="eu", etag="e", request_id=new_id())
        ),
    ),
]


@pytest.mark.parametrize(("reason", "call"), MISSING, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(MISSING)])
async def test_what_is_not_there(registry: Registry, reason: str, call: Call) -> None:
    await registry.create()
    await registry.publish()
    said = await refused(call(registry))
    assert (said.code, said.reason) == ("NOT_FOUND", reason)


async def test_what_is_there_already(registry: Registry) -> None:
    await registry.create()
    said = await refused(registry.create())
    assert (said.code, said.reason) == ("ALREADY_EXISTS", "MODEL_EXISTS")
    await registry.publish(version_id="a1")
    said = await refused(registry.publish(version_id="a1"))
    assert (said.code, said.reason) == ("ALREADY_EXISTS", "VERSION_EXISTS")
    assert (await registry.states()) == {"a1": "STABLE"}


async def test_etags(registry: Registry) -> None:
    rollout = await registry.running()
    missing = await refused(registry.promote(rollout, etag=""))
    assert (missing.code, missing.reason, missing.field) == ("INVALID_ARGUMENT", "ETAG_MISSING", "etag")
    await registry.stub.PauseRollout(
        service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    )
    stale = await refused(registry.promote(rollout))
    assert (stale.code, stale.reason, stale.metadata["state"]) == ("ABORTED", "ETAG_STALE", "PAUSED")
    lane = await refused(
        registry.stub.StartRollout(
            service_pb2.StartRolloutRequest(version="models/m/versions/v2", etag="old", request_id=new_id())
        )
    )
    assert (lane.code, lane.reason) == ("ABORTED", "ETAG_STALE")
    assert "rollout 1 is live" in lane.message


async def test_request_ids(registry: Registry) -> None:
    missing = await refused(registry.stub.CreateModel(service_pb2.CreateModelRequest(model_id="m")))
    assert (missing.code, missing.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_MISSING")
    wrong = await refused(registry.stub.CreateModel(service_pb2.CreateModelRequest(model_id="m", request_id="7")))
    assert (wrong.code, wrong.reason, wrong.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", "request_id")


async def test_what_the_state_does_not_allow(registry: Registry) -> None:
    rollout = await registry.running(spec=plan(500))
    running = await refused(
        registry.stub.ResumeRollout(
            service_pb2.ResumeRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
        )
    )
    assert (running.code, running.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert "possible now: advance, pause, promote, roll back" in running.message
    last = await refused(
        registry.stub.AdvanceRollout(
            service_pb2.AdvanceRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
        )
    )
    assert (last.code, last.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    done = await registry.promote(rollout)
    ended = await refused(registry.promote(done))
    assert (ended.code, ended.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert "has ended" in ended.message
    lane = (await registry.model()).lanes[0]
    deprecated = await refused(
        registry.stub.StartRollout(
            service_pb2.StartRolloutRequest(version="models/m/versions/v1", etag=lane.etag, request_id=new_id())
        )
    )
    assert (deprecated.reason, deprecated.metadata["state"]) == ("TRANSITION_ILLEGAL", "DEPRECATED")


async def test_too_few_workers(registry: Registry) -> None:
    rollout = await registry.running(spec=plan(500, 6000))
    await registry.worker().ready("v1")
    said = await refused(
        registry.stub.AdvanceRollout(
            service_pb2.AdvanceRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
        )
    )
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "NOT_READY_ENOUGH")
    assert said.metadata == {"ready": "1", "stable_ready": "2"}
    assert (await refused(registry.promote(rollout))).reason == "NOT_READY_ENOUGH"
    forced = await registry.promote(rollout, force=True)
    assert forced.state == resources_pb2.ROLLOUT_STATE_PROMOTED


async def test_incompatible_signature(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    other = version()
    other.signature.CopyFrom(signature(("no", "perhaps"), width=5))
    said = await refused(registry.publish(version=other))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "SIGNATURE_INCOMPATIBLE")
    for part in ("[-1, 4]", "[-1, 5]", "[no, yes]", "[no, perhaps]", "allow_incompatible"):
        assert part in said.message
    assert await registry.states() == {"v1": "STABLE"}
    pending = await registry.publish(version=other, allow_incompatible=True, without_rollout=True)
    lane = (await registry.model()).lanes[0]
    start = service_pb2.StartRolloutRequest(version=pending.version.name, etag=lane.etag, request_id=new_id())
    assert (await refused(registry.stub.StartRollout(start))).reason == "SIGNATURE_INCOMPATIBLE"
    start.allow_incompatible = True
    started = await registry.stub.StartRollout(start)
    assert started.state == resources_pb2.ROLLOUT_STATE_WAITING_READY


async def test_wrong_fields_are_named(registry: Registry) -> None:
    await registry.create()
    said = await refused(registry.publish(rollout=plan(500, 400)))
    assert (said.code, said.reason, said.field) == (
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "rollout.plan.steps[1].share_bps",
    )
    said = await refused(registry.model("a/b"))
    assert said.field == "name"
    said = await refused(registry.stub.ListModels(service_pb2.ListModelsRequest(page_size=5000)))
    assert said.field == "page_size"


async def test_a_policy_that_the_version_cannot_be_judged_by_is_refused_at_its_start(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    lane = (await registry.model()).lanes[0]
    spec = service_pb2.RolloutSpec(
        policy=policy_pb2.Policy(
            gates=[policy_pb2.Gate(metric=policy_pb2.METRIC_RECALL, required=True, positive_class="perhaps")]
        )
    )
    start = service_pb2.StartRolloutRequest(
        version="models/m/versions/v2", etag=lane.etag, rollout=spec, request_id=new_id()
    )
    said = await refused(registry.stub.StartRollout(start))
    assert (said.code, said.reason, said.field) == (
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "rollout.policy.gates[0].positive_class",
    )
    assert "'perhaps' is no class of the model" in said.message
    start.rollout.policy.gates[0].positive_class = "yes"
    start.request_id = new_id()
    assert (await registry.stub.StartRollout(start)).state == resources_pb2.ROLLOUT_STATE_WAITING_READY


async def test_an_ab_test_is_kept_as_one_and_needs_a_metric_to_be_better_in(registry: Registry) -> None:
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    lane = (await registry.model()).lanes[0]
    errors = policy_pb2.Gate(metric=policy_pb2.METRIC_ERRORS, required=True)
    spec = service_pb2.RolloutSpec(policy=policy_pb2.Policy(gates=[errors]), objective=policy_pb2.OBJECTIVE_SUPERIOR)
    start = service_pb2.StartRolloutRequest(
        version="models/m/versions/v2", etag=lane.etag, rollout=spec, request_id=new_id()
    )
    said = await refused(registry.stub.StartRollout(start))
    assert (said.reason, said.field) == ("FIELD_INVALID", "rollout.policy.gates")
    start.rollout.policy.gates[0].primary = True
    start.request_id = new_id()
    started = await registry.stub.StartRollout(start)
    assert started.objective == policy_pb2.OBJECTIVE_SUPERIOR
    assert (await registry.rollout(1)).objective == policy_pb2.OBJECTIVE_SUPERIOR


async def test_a_pause_by_a_person_is_not_ended_by_a_look(registry: Registry) -> None:
    rollout = await registry.running()
    await registry.look(rollout, 1)
    paused = await registry.stub.PauseRollout(
        service_pb2.PauseRolloutRequest(name=rollout.name, etag=rollout.etag, request_id=new_id())
    )
    said = await refused(
        registry.stub.ResumeRollout(
            service_pb2.ResumeRolloutRequest(
                name=rollout.name, etag=paused.etag, request_id=new_id(), analysis_sequence=1
            )
        )
    )
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
    assert "a person paused" in said.message
