"""A serialization failure at each statement and COMMIT, of every call that changes something: one effect, or none."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.unit_of_work import ATTEMPTS
from tests.integration.registry.effects import Connection, Effect, effect, read
from tests.integration.registry.harness import Registry, Start, new_id, refusal
from tests.integration.registry.mutating import MUTATING, WEBHOOK, rpc_of
from tests.integration.registry.test_cut_commits import CHANGE_NOTHING
from tests.support.serialization import COMMIT, Serialization, serialization

AT_A_TIME = 8
FEWEST = 2
"""Places at which a call may fail: it writes, and ends with COMMIT."""
SOON = "RetryWebhook"
"""It changes but when something is tried that has failed; see test_webhook_backlog.py."""
QUIET: dict[str, Any] = {"sweep_seconds": 60, "webhook_poll_seconds": 60}
"""Nobody else changes what is in the tables."""


async def prepared(registry: Registry, call: str, model: str) -> Any:
    """The request, whose id is drawn, where it has one."""
    request = await MUTATING[call](registry, model)
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        request.request_id = new_id()
    return request


async def ask(registry: Registry, call: str, request: Any) -> Any:
    """The answer; raises what the Registry says instead."""
    return await getattr(registry.stub, rpc_of(call))(request)


async def whole(registry: Registry, model: str) -> None:
    """None of the model's events was altered, removed, or put in."""
    verify(await registry.model(model), reversed(await registry.events(model)))


async def replays(registry: Registry, call: str, request: Any, answer: Any, shared_database: Connection) -> None:
    """The same request again has the same answer, and changes nothing."""
    if not getattr(request, "request_id", ""):
        return
    before = read(shared_database)
    assert await ask(registry, call, request) == answer
    assert read(shared_database) == before


@pytest.fixture
async def registry(start: Start, tmp_path: Path) -> Registry:
    """A Registry in whose tables nothing happens by itself, with a webhook that is seldom tried."""
    file = tmp_path / "webhooks.toml"
    file.write_text(f'[[webhook]]\nname = "{WEBHOOK}"\nurl = "http://127.0.0.1:1/"\n')
    return await start(**QUIET, database_connections=AT_A_TIME, webhooks=file)


@pytest.fixture
def failing(registry: Registry) -> Iterator[Serialization]:
    """Its database, as its calls use it."""
    with serialization(registry.app._engine, "registry") as made:
        yield made


def test_every_call_that_changes_something_is_made() -> None:
    methods = service_pb2.DESCRIPTOR.services_by_name["RegistryService"].methods
    assert {rpc_of(call) for call in MUTATING} == {method.name for method in methods} - CHANGE_NOTHING - {SOON}


@pytest.mark.parametrize("call", MUTATING)
async def test_a_failure_at_any_place_leaves_one_effect(
    registry: Registry, failing: Serialization, shared_database: Connection, call: str
) -> None:
    expected: Effect | None = None
    for place in itertools.count():
        model = f"round-{place}"
        failing.refuse(0)
        request = await prepared(registry, call, model)
        before = read(shared_database)
        failing.refuse(place)
        answer = await ask(registry, call, request)
        sent, refused = failing.sent, failing.refused
        failing.refuse(0)
        had = effect(before, read(shared_database), model)
        await whole(registry, model)
        await replays(registry, call, request, answer, shared_database)
        if expected is None:
            # Nothing was refused: this is what the others are held against.
            expected, places = had, len(sent)
            assert places >= FEWEST
            assert COMMIT in sent
            assert had != ({}, {})
            continue
        assert had == expected, f"{place}. of {places}: {sent[place - 1]}"
        if not refused:
            assert place == places + 1
            return
        assert len(sent) > places


async def test_a_failure_at_each_commit_has_no_effect_and_says_so(
    registry: Registry, failing: Serialization, shared_database: Connection
) -> None:
    expected: dict[str, Effect] = {}
    for number, call in enumerate(MUTATING):
        request = await prepared(registry, call, f"whole-{number}")
        before = read(shared_database)
        await ask(registry, call, request)
        expected[call] = effect(before, read(shared_database), f"whole-{number}")
    requests = {call: await prepared(registry, call, f"m-{number}") for number, call in enumerate(MUTATING)}
    before = read(shared_database)
    failing.refuse_commits()
    # All at a time would have to wait for one another for longer than a call may take.
    few = asyncio.Semaphore(AT_A_TIME)

    async def told(call: str, request: Any) -> Any:
        async with few:
            return await ask(registry, call, request)

    answers = await asyncio.gather(*itertools.starmap(told, requests.items()), return_exceptions=True)
    refused = failing.refused
    failing.refuse(0)
    for call, error in zip(requests, answers, strict=True):
        assert isinstance(error, aio.AioRpcError), call
        assert (error.code(), refusal(error).reason) == (grpc.StatusCode.ABORTED, "CONTENTION"), call
    assert refused == ATTEMPTS * len(MUTATING)
    assert read(shared_database) == before
    for number, (call, request) in enumerate(requests.items()):
        # Nothing is left of it in the process either: the same request is carried out, once.
        before = read(shared_database)
        answer = await ask(registry, call, request)
        assert effect(before, read(shared_database), f"m-{number}") == expected[call], call
        await whole(registry, f"m-{number}")
        await replays(registry, call, request, answer, shared_database)


async def test_what_is_refused_for_a_reason_is_refused_for_it(
    registry: Registry, failing: Serialization, shared_database: Connection
) -> None:
    """A call that nothing comes of says why, whatever could not be serialized on the way."""
    rollout = await registry.running()
    stale = resources_pb2.Rollout(name=rollout.name, etag="stale")
    for place in itertools.count(1):
        before = read(shared_database)
        failing.refuse(place)
        with pytest.raises(aio.AioRpcError) as caught:
            await registry.promote(stale)
        refused = failing.refused
        failing.refuse(0)
        assert refusal(caught.value).reason == "ETAG_STALE"
        assert read(shared_database) == before
        if not refused:
            assert place > 1
            return
