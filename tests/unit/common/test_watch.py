"""Following the routes: parts of a revision are in force together or not at all."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
import structlog.testing
from grpc import aio

from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.watch import RouteWatch
from tests.support.wait import until

Messages = Sequence[service_pb2.WatchRoutesResponse]


class Scripted:
    """A Registry whose watches say what a test has written, and end; the last one stays open.

    Attributes:
        asked: what each watch began with.
    """

    def __init__(self, *watches: Messages, status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self._watches = list(watches)
        self._status = status
        self.asked: list[tuple[int, str]] = []

    async def watch(
        self, request: service_pb2.WatchRoutesRequest, context: "aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[service_pb2.WatchRoutesResponse]:
        """WatchRoutes."""
        self.asked.append((request.start_revision, request.start_mark))
        for message in self._watches.pop(0):
            yield message
        if self._watches:
            await context.abort(self._status, "as the test wants it")
        await asyncio.Event().wait()


@asynccontextmanager
async def following(registry: Scripted) -> AsyncIterator[tuple[RouteWatch, list[tuple[int, set[str]]]]]:
    """A watch, and what it has told so far: revisions, and the models of all lanes."""
    server = aio.server()
    handler = grpc.unary_stream_rpc_method_handler(
        registry.watch,
        request_deserializer=service_pb2.WatchRoutesRequest.FromString,
        response_serializer=service_pb2.WatchRoutesResponse.SerializeToString,
    )
    name = service_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"WatchRoutes": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    told: list[tuple[int, set[str]]] = []
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = RouteWatch(
            channel,
            lambda revision, lanes: told.append((revision, {model for model, _ in lanes})),
            lambda: None,
            structlog.get_logger(),
        )
        task = asyncio.create_task(watch.run())
        yield watch, told
        task.cancel()
    await server.stop(None)


def message(
    revision: int, mark: str, *models: str, snapshot: bool = False, more: bool = False
) -> service_pb2.WatchRoutesResponse:
    lanes = [resources_pb2.LaneRoutes(model=model) for model in models]
    return service_pb2.WatchRoutesResponse(revision=revision, mark=mark, lanes=lanes, snapshot=snapshot, more=more)


async def test_a_connection_that_ends_by_its_age_is_no_loss() -> None:
    first, second = message(1, "a", "m", snapshot=True), message(2, "b", "m")
    with structlog.testing.capture_logs() as said:
        async with following(Scripted([first], [second])) as (watch, _):
            await until(lambda: watch.revision == 2)
    assert said == []


async def test_a_registry_that_does_not_come_back_is_told_once_and_so_is_its_return() -> None:
    first, second = message(1, "a", "m", snapshot=True), message(2, "b", "m")
    with structlog.testing.capture_logs() as said:
        async with following(Scripted([first], [], [], [], [second])) as (watch, _):
            await until(lambda: watch.revision == 2)
    assert [(one["log_level"], one["event"]) for one in said] == [
        ("warning", "registry lost; the last routes stay in force"),
        ("info", "routes are followed again"),
    ]


async def test_parts_are_in_force_together() -> None:
    parts = [
        message(0, "", "a", snapshot=True, more=True),
        message(0, "", "b", more=True),
        message(7, "g", "c"),
        message(7, "g", "d", more=True),
        message(8, "h", "e"),
    ]
    async with following(Scripted(parts)) as (watch, told):
        await until(lambda: watch.revision == 8)
        assert told == [(7, {"a", "b", "c"}), (8, {"a", "b", "c", "d", "e"})]


async def test_a_revision_that_is_cut_off_between_its_parts_is_asked_for_again() -> None:
    registry = Scripted(
        [message(0, "", "a", snapshot=True, more=True)],
        [message(7, "g", "a", "b", snapshot=True), message(7, "g", "x", more=True)],
        [message(8, "h", "c")],
    )
    async with following(registry) as (watch, told):
        await until(lambda: watch.revision == 8)
        assert told == [(7, {"a", "b"}), (8, {"a", "b", "c"})]
        assert registry.asked == [(0, ""), (0, ""), (7, "g")]


async def test_what_is_out_of_range_is_listed_again_and_may_be_older() -> None:
    registry = Scripted(
        [message(7, "g", "a", "b", snapshot=True)],
        [message(3, "c", "a", snapshot=True)],
        status=grpc.StatusCode.OUT_OF_RANGE,
    )
    async with following(registry) as (watch, told):
        await until(lambda: len(told) == 2)
        assert told == [(7, {"a", "b"}), (3, {"a"})]
        assert registry.asked == [(0, ""), (0, "")]
        assert watch.revision == 3


async def test_a_registry_of_a_release_without_parts_and_marks() -> None:
    old = [message(7, "", "a", snapshot=True), message(8, "", "b"), message(8, "")]
    registry = Scripted(old, [message(9, "", "c")])
    async with following(registry) as (watch, told):
        await until(lambda: watch.revision == 9)
        assert told == [(7, {"a"}), (8, {"a", "b"}), (9, {"a", "b", "c"})]
        assert registry.asked == [(0, ""), (8, "")]
