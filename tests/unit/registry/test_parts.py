"""What a watch is sent is what the generated class writes, though it is written without it."""

import pytest

from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.remembered_changes import Batch
from registry.repositories import Position
from registry.servicer.parts import parts
from registry.sizes import FITTING_BYTES


def lane(model: str, classes: int = 0) -> resources_pb2.LaneRoutes:
    routes = resources_pb2.LaneRoutes(model=model, segment="s", epoch=3)
    if classes:
        routes.wanted.add(version="v1").signature.classes.extend(f"class-{number}" for number in range(classes))
    return routes


@pytest.mark.parametrize("position", [Position(0), Position(7, "mark"), Position(2**40)])
@pytest.mark.parametrize("snapshot", [False, True])
@pytest.mark.parametrize("lanes", [[], [lane("a")], [lane("a"), lane("b", 1_000), resources_pb2.LaneRoutes()]])
def test_a_message_is_the_generated_class_s_byte_by_byte(
    position: Position, snapshot: bool, lanes: list[resources_pb2.LaneRoutes]
) -> None:
    batch = Batch(position, snapshot=snapshot, lanes=tuple(one.SerializeToString() for one in lanes))
    wanted = service_pb2.WatchRoutesResponse(
        revision=position.revision, mark=position.mark, snapshot=snapshot, lanes=lanes
    )
    assert list(parts(batch, Position(1, "before"))) == [wanted.SerializeToString()]


def test_so_are_the_parts_of_a_large_one() -> None:
    large = lane("a", FITTING_BYTES // 20)
    payload = large.SerializeToString()
    assert FITTING_BYTES // 2 < len(payload) < FITTING_BYTES
    batch = Batch(Position(7, "mark"), snapshot=True, lanes=(payload,) * 3)
    before = service_pb2.WatchRoutesResponse(revision=6, mark="before", lanes=[large], more=True)
    first, last = service_pb2.WatchRoutesResponse(snapshot=True), service_pb2.WatchRoutesResponse()
    first.MergeFrom(before)
    last.MergeFrom(service_pb2.WatchRoutesResponse(revision=7, mark="mark", lanes=[large]))
    found = list(parts(batch, Position(6, "before")))
    assert found == [message.SerializeToString() for message in (first, before, last)]


def test_lanes_are_not_read() -> None:
    """Two hundred large ones took 0.3 s of the event loop, for each watch."""
    batch = Batch(Position(7), snapshot=False, lanes=(b"\xff no message \xff",))
    (message,) = parts(batch, Position(6))
    assert message.count(batch.lanes[0]) == 1
