"""A model of many segments: a Worker's report is of all of its lanes, and what is done to one is of that one."""

import threading
from typing import Any

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import event

from crossfade.registry.v1 import service_pb2
from tests.integration.registry.harness import FAILED, READY, Registry, Start, new_id


async def give_lanes(registry: Registry, *segments: str) -> None:
    """Gives segments lanes of their own."""
    for segment in segments:
        etag = (await registry.model()).etag
        request = service_pb2.SetSegmentRequest(model="models/m", segment=segment, etag=etag, request_id=new_id())
        await registry.stub.SetSegment(request)


async def test_what_a_report_asks_of_the_database_does_not_grow_with_the_lanes(start: Start) -> None:
    """Others change routes while it asks, and then it begins again: with a thousand lanes it never came to its end."""
    registry = await start(sweep_seconds=60)
    await registry.create()
    await registry.publish()
    worker = registry.worker()
    await worker.ready("v1")
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        # Of this call's thread: others look for news meanwhile.
        if threading.current_thread().name.startswith("registry"):
            asked.append(statement)

    event.listen(registry.app._engine, "before_cursor_execute", note)

    async def statements() -> list[str]:
        asked.clear()
        for state in (FAILED, READY):
            worker.set("v1", state)
            await worker.report()
        return list(asked)

    await give_lanes(registry, "a")
    few = await statements()
    await give_lanes(registry, *"bcdefghijk")
    many = await statements()
    assert len(many) == len(few), many
    lanes = await registry.routes()
    assert [lane.segment for lane in lanes] == ["", *"abcdefghijk"]
    assert {arm.endpoints[0].instance_id for lane in lanes for arm in lane.arms} == {worker.instance_id}


async def test_what_a_change_of_one_lane_reads_does_not_grow_with_the_others(start: Start) -> None:
    registry = await start(sweep_seconds=60)
    await registry.create()
    await registry.publish()
    await registry.publish(without_rollout=True)
    read = 0

    def note(connection: object, cursor: Any, *rest: object) -> None:
        nonlocal read
        if threading.current_thread().name.startswith("registry"):
            read += cursor.rowcount

    event.listen(registry.app._engine, "after_cursor_execute", note)

    async def rows() -> int:
        """As many as a version takes that is loaded for a while and let go again, of the default lane."""
        nonlocal read
        lane = (await registry.model()).lanes[0]
        read = 0
        for seconds in (60, 0):
            request = service_pb2.LoadVersionRequest(
                name="models/m/versions/v2", ttl=Duration(seconds=seconds), etag=lane.etag, request_id=new_id()
            )
            lane = await registry.stub.LoadVersion(request)
            assert [one.version for one in lane.versions] == ["v2", "v1"]
        return read

    await give_lanes(registry, "a")
    few = await rows()
    await give_lanes(registry, *"bcdefghijk")
    assert await rows() == few


async def test_what_a_model_was_is_asked_for_all_of_its_lanes_at_once(start: Start) -> None:
    """Of a thousand segments no answer came in time."""
    registry = await start(sweep_seconds=60)
    await registry.create()
    await registry.publish()
    asked = 0

    def note(*_: object) -> None:
        nonlocal asked
        if threading.current_thread().name.startswith("registry"):
            asked += 1

    event.listen(registry.app._engine, "before_cursor_execute", note)

    async def statements(*segments: str) -> int:
        nonlocal asked
        await give_lanes(registry, *segments)
        revision = (await registry.events())[-1].revision
        asked = 0
        found = await registry.stub.GetModel(service_pb2.GetModelRequest(name="models/m", revision=revision))
        assert {lane.segment for lane in found.lanes} >= {"", *segments}
        assert {lane.stable_version for lane in found.lanes} == {"v1"}
        return asked

    assert await statements("a") == await statements(*"bcdefghijk")
