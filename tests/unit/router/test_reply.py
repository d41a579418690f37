"""Whom an attempt's end is charged to."""

import pytest

from crossfade.registry.v1 import resources_pb2
from router.call import Reply
from router.routes import named_addresses


@pytest.mark.parametrize(
    ("end", "charged", "lost"),
    [
        # A crash, and a process that was told to end and could not say so.
        (Reply("UNAVAILABLE", begun=True), True, True),
        (Reply("UNAVAILABLE", begun=True, dismissed=True), False, True),
        (Reply("CANCELLED", begun=True, dismissed=True), False, False),
        (Reply("CANCELLED", begun=True), True, False),
        # What the version did wrong it did, whatever became of its process.
        (Reply("INTERNAL", details=b"its own words", begun=True, dismissed=True), True, False),
        (Reply("INTERNAL", begun=True, dismissed=True), True, False),
        (Reply("DEADLINE_EXCEEDED", begun=True, dismissed=True), True, False),
        (Reply("OK", begun=True, dismissed=True), True, False),
        # Time that was over before there was a connection says nothing of the version.
        (Reply("DEADLINE_EXCEEDED"), True, False),
        (Reply("DEADLINE_EXCEEDED", unsent=True), False, False),
        # Its own words say it without the Registry's.
        (Reply("UNAVAILABLE", details=b"its own words", begun=True), False, False),
        # One that had not begun is refused as ever.
        (Reply("UNAVAILABLE", dismissed=True), False, False),
    ],
)
def test_what_a_process_breaks_off_at_its_end_is_nobodys(end: Reply, charged: bool, lost: bool) -> None:
    assert (end.charged, end.lost) == (charged, lost)


def test_only_a_worker_that_had_begun_says_that_the_program_failed() -> None:
    raised = Reply("INTERNAL", begun=True, reason="MODEL_RAISED")
    assert raised.of_program
    assert not raised._replace(begun=False).of_program
    assert not raised._replace(code="UNAVAILABLE").of_program
    assert not raised._replace(reason="").of_program
    assert raised.like(raised._replace(message="in other words"))
    for other in (raised._replace(reason="OUTPUT_NOT_FINITE"), raised._replace(begun=False)):
        assert not raised.like(other)
        assert not other.like(raised)


def test_every_place_of_the_routes_names_processes() -> None:
    def at(*addresses: str) -> list[resources_pb2.Endpoint]:
        return [resources_pb2.Endpoint(instance_id="w", address=address) for address in addresses]

    lanes = [
        resources_pb2.LaneRoutes(
            arms=[resources_pb2.RouteArm(arm="stable", endpoints=at("a:1", "b:1"))],
            wanted=[resources_pb2.WantedVersion(version="v1", endpoints=at("a:1", "pinned:1"))],
        ),
        resources_pb2.LaneRoutes(shadow=resources_pb2.RouteArm(arm="shadow", endpoints=at("shadow:1"))),
        resources_pb2.LaneRoutes(),
    ]
    assert named_addresses(lanes) == {"a:1", "b:1", "pinned:1", "shadow:1"}
