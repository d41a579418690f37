"""A page's token holds for the list that it was given with, and for no other."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf import timestamp_pb2

from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import Registry, refused


class Listed(NamedTuple):
    """A list of which there is more than a page, and others that its token is no token of."""

    ask: Callable[[Registry, dict[str, Any]], Awaitable[Any]]
    wanted: dict[str, Any]
    others: list[dict[str, Any]]


def moment(seconds: int) -> timestamp_pb2.Timestamp:
    return timestamp_pb2.Timestamp(seconds=seconds)


LISTS = {
    "events": Listed(
        lambda registry, wanted: registry.stub.ListEvents(service_pb2.ListEventsRequest(**wanted)),
        {"parent": "models/a"},
        [
            {"parent": "models/b"},
            {"parent": "models/-"},
            {"version": "v2"},
            {"segment": ""},
            {"rollout": "models/a/rollouts/1"},
            {"types": ["MODEL_CREATED"]},
            {"start_time": moment(1)},
            {"end_time": moment(5_000_000_000)},
        ],
    ),
    "rollouts": Listed(
        lambda registry, wanted: registry.stub.ListRollouts(service_pb2.ListRolloutsRequest(**wanted)),
        {"parent": "models/-"},
        [
            {"parent": "models/a"},
            {"live_only": True},
            {"version": "v2"},
            {"segment": ""},
            {"states": [resources_pb2.ROLLOUT_STATE_RUNNING]},
        ],
    ),
    "analyses": Listed(
        lambda registry, wanted: registry.stub.ListAnalyses(service_pb2.ListAnalysesRequest(**wanted)),
        {"parent": "models/a/rollouts/1"},
        [{"parent": "models/b/rollouts/1"}],
    ),
    "instances": Listed(
        lambda registry, wanted: registry.stub.ListInstances(service_pb2.ListInstancesRequest(**wanted)),
        {},
        [{"kind": resources_pb2.INSTANCE_KIND_WORKER}],
    ),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_token_is_of_one_list(registry: Registry, name: str) -> None:
    for model in ("a", "b"):
        rollout = await registry.running(model)
        for sequence in (1, 2):
            await registry.look(rollout, sequence)
    listed = LISTS[name]
    first = await listed.ask(registry, {**listed.wanted, "page_size": 1})
    token = {"page_token": first.next_page_token, "page_size": 1}
    assert await listed.ask(registry, {**listed.wanted, **token}) != first
    for other in listed.others:
        said = await refused(listed.ask(registry, {**listed.wanted, **other, **token}))
        assert (said.code, said.field) == ("INVALID_ARGUMENT", "page_token"), other
