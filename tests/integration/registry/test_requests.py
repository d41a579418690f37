"""request_id: once, however often it is asked for."""

import asyncio

from crossfade.connection import USER_KEY
from crossfade.registry.v1 import service_pb2
from tests.fakes.clock import ManualClock
from tests.integration.registry.harness import Registry, Start, new_id, plan, refused, version


async def test_the_same_request_is_answered_again(registry: Registry) -> None:
    rollout = await registry.running()
    request_id = new_id()
    first = await registry.promote(rollout, request_id=request_id)
    events = await registry.events()
    # The etag has changed since, and the rollout has ended: a new request would be refused.
    again = await registry.promote(rollout, request_id=request_id)
    assert again == first
    assert await registry.events() == events


async def test_another_request_under_the_same_id_is_refused(registry: Registry) -> None:
    request = service_pb2.CreateModelRequest(model_id="a", request_id=new_id())
    await registry.stub.CreateModel(request)
    request.model_id = "b"
    said = await refused(registry.stub.CreateModel(request))
    assert (said.code, said.reason, said.field) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "request_id")
    assert (await refused(registry.model("b"))).reason == "MODEL_NOT_FOUND"


async def test_an_id_in_another_spelling_is_the_same(registry: Registry) -> None:
    request = service_pb2.CreateModelRequest(model_id="a", request_id=new_id())
    first = await registry.stub.CreateModel(request)
    for spelt in (request.request_id.upper(), request.request_id.replace("-", ""), f"{{{request.request_id}}}"):
        request.request_id = spelt
        assert await registry.stub.CreateModel(request) == first
    assert len(await registry.events("a")) == 1


async def test_ids_belong_to_the_caller_and_the_method(registry: Registry) -> None:
    request_id = new_id()
    await registry.stub.CreateModel(service_pb2.CreateModelRequest(model_id="a", request_id=request_id))
    other = service_pb2.CreateModelRequest(model_id="b", request_id=request_id)
    await registry.stub.CreateModel(other, metadata=((USER_KEY, "ben"),))
    await registry.publish("a", request_id=request_id)
    assert (await registry.events("b"))[0].actor == "local:ben"


async def test_a_refusal_is_not_kept(registry: Registry) -> None:
    request = service_pb2.PublishVersionRequest(
        parent="models/a", request_id=new_id(), version=version(), rollout=plan(500)
    )
    assert (await refused(registry.stub.PublishVersion(request))).reason == "MODEL_NOT_FOUND"
    await registry.create("a")
    assert (await registry.stub.PublishVersion(request)).version.name == "models/a/versions/v1"


async def test_the_same_request_at_the_same_time(start: Start) -> None:
    replicas = [await start(), await start()]
    await replicas[0].create()
    request = service_pb2.PublishVersionRequest(parent="models/m", request_id=new_id(), version=version())
    answers = await asyncio.gather(*(replicas[n % 2].stub.PublishVersion(request) for n in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert await replicas[0].states() == {"v1": "STABLE"}


async def test_answers_are_forgotten_after_a_week(start: Start) -> None:
    clock = ManualClock()
    registry = await start(clock, sweep_seconds=60)
    request = service_pb2.CreateModelRequest(model_id="a", request_id=new_id())
    await registry.stub.CreateModel(request)
    for days, reason in ((6.9, "REQUEST_ID_REUSED"), (0.2, "")):
        clock.advance(days * 86_400)
        await asyncio.to_thread(registry.app.retention.forget, deadline=float("inf"))
        other = service_pb2.CreateModelRequest(model_id="b", request_id=request.request_id)
        if reason:
            assert (await refused(registry.stub.CreateModel(other))).reason == reason
        else:
            assert (await registry.stub.CreateModel(other)).name == "models/b"
