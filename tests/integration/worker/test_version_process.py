"""The processes of one version, spoken to as the supervisor does."""

import asyncio
import contextlib
import itertools
import os
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from crossfade import metadata as keys_of
from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from services.worker.domain import Context, LaneContext, Traffic
from services.worker.pipes import messages
from services.worker.version.memory import own_bytes
from tests.fakes.models import reference_rows
from tests.integration.worker.conftest import Caller
from tests.integration.worker.versions import HOST, TOLD, Versions, first_word


@pytest.fixture
def keys(token_keys: Path) -> TokenKeys:
    """What the versions sign with."""
    return TokenKeys.parse(token_keys.read_text())


async def test_it_serves_only_when_it_knows_its_lanes(versions: Versions, keys: TokenKeys) -> None:
    untold = await versions.start("v1")
    word = asyncio.create_task(first_word(untold))
    await versions.ready("v2")
    # Started earlier, it would be ready too.
    assert not word.done()
    untold.link.send(TOLD)
    assert isinstance(await word, messages.Ready)
    caller = Caller(versions.address("v1"))
    response = await caller.predict(reference_rows(1))
    await caller.channel.close()
    token = response.parameters["crossfade_prediction_id"].string_param
    assert keys.verify(token).epoch == 7


async def test_all_its_threads_keep_to_its_processors(versions: Versions) -> None:
    (core, *_) = os.sched_getaffinity(0)
    process = await versions.ready("v1", cores=frozenset({core}))
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) == 3
    threads = [thread.id for one in family for thread in one.threads()]
    assert [os.sched_getaffinity(thread) for thread in threads] == [{core}] * len(threads)


async def test_its_front_ends_stay_on_a_processor_each_and_its_engine_moves(versions: Versions) -> None:
    every = os.sched_getaffinity(0)
    pinned = min(every), max(every)
    process = await versions.ready("v1", pinned=pinned)
    engine, follower = sorted(psutil.Process(process.pid).children(), key=lambda one: one.pid)
    caller = Caller(versions.address("v1"))
    await caller.predict(reference_rows(1))
    await caller.channel.close()
    for one, cores in ((psutil.Process(process.pid), {pinned[0]}), (follower, {pinned[1]}), (engine, every)):
        threads = one.threads()
        assert [os.sched_getaffinity(thread.id) for thread in threads] == [cores] * len(threads)


async def test_front_ends_whose_processors_are_not_there_any_more_move(versions: Versions) -> None:
    process = await versions.ready("v1", pinned=(1 << 12, 1 << 12))
    assert os.sched_getaffinity(process.pid) == os.sched_getaffinity(0)


async def test_its_fork_is_made_on_its_processors_too(versions: Versions) -> None:
    (core, *_) = every = os.sched_getaffinity(0)
    process = await versions.start("v1", cores=frozenset({core}))
    forking = psutil.Process(process.pid).parent()
    assert forking is not None
    assert os.sched_getaffinity(forking.pid) == {core}
    await versions.start("v2")
    assert os.sched_getaffinity(forking.pid) == every


async def test_where_its_lanes_epoch_falls_labels_of_higher_ones_are_too_late(versions: Versions) -> None:
    process = await versions.start("v1")
    process.link.send(TOLD)
    reports = process.link.reports()
    assert isinstance((await anext(reports))[0], messages.Ready)
    reading = asyncio.ensure_future(anext(reports, None))
    caller = Caller(versions.address("v1"))

    async def prediction_id() -> str:
        response = await caller.predict(reference_rows(1))
        return response.parameters["crossfade_prediction_id"].string_param

    async def status(prediction_id: str) -> str:
        request = predict_pb2.FeedbackRequest()
        request.observations.add(prediction_id=prediction_id, row=0, value=1.0)
        body = await caller.call(request.SerializeToString(), "/crossfade.predict.v1.PredictionService/Feedback")
        found = predict_pb2.FeedbackResponse.FromString(body).results[0].status
        return predict_pb2.ObservationResult.Status.Name(found)

    first, second = await prediction_id(), await prediction_id()
    assert await status(first) == "STATUS_ACCEPTED"
    process.link.send(messages.Tell(Context((LaneContext("", 3, 60.0),)), ()))
    # Orders are taken in their order.
    assert await process.link.counts(10.0) is not None
    assert await status(second) == "STATUS_TOO_LATE"
    assert await status(await prediction_id()) == "STATUS_ACCEPTED"
    await caller.channel.close()
    reading.cancel()


async def test_a_profile_that_is_not_there_does_not_end_it(versions: Versions) -> None:
    process = await versions.start("v1")
    process.link.send(replace(TOLD, profiles=("/nowhere",)))
    assert isinstance(await first_word(process), messages.Ready)


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_why_it_cannot_serve_is_its_last_word(versions: Versions, front_ends: int) -> None:
    # Documentation's (RFC 5737), so nobody's.
    process = await versions.start("v1", address="192.0.2.1:1", front_ends=front_ends)
    process.link.send(TOLD)
    word = await first_word(process)
    assert isinstance(word, messages.Crashing)
    assert "could not serve: RuntimeError('Failed to bind to address 192.0.2.1:1" in word.message


async def test_counts_that_its_pipe_does_not_hold_are_its_last_word_all_the_same(versions: Versions) -> None:
    segments, epochs, kinds = [f"s{n}" for n in range(16)], range(4, 12), list(Traffic)[:5]
    process = await versions.start("v1", front_ends=1)
    process.link.send(messages.Tell(Context(tuple(LaneContext(segment, 7, 60.0) for segment in segments)), ()))
    reports = process.link.reports()
    assert isinstance((await anext(reports))[0], messages.Ready)
    caller = Caller(versions.address("v1"))
    for segment, kind in itertools.product(segments, kinds):
        await asyncio.gather(
            *(
                caller.predict(
                    reference_rows(1),
                    metadata=((keys_of.SEGMENT, segment), (keys_of.TRAFFIC, kind), (keys_of.EPOCH, str(epoch))),
                )
                for epoch in epochs
            )
        )
    await caller.channel.close()
    process.link.send(messages.Drain(0.0, 0.0))
    # The supervisor does something else meanwhile; a process that did not wait for it would have ended.
    with contextlib.suppress(psutil.TimeoutExpired, psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(process.pid).wait, 1.0)
    assert await anext(reports, None) is None
    counts = [one for one in process.link.last_counts or () if one.metric is catalog.WORKER_DURATION]
    assert sum(sum(one.counts) for one in counts) == len(segments) * len(epochs) * len(kinds)


async def test_a_receiver_of_traces_that_hangs_does_not_hold_its_last_counts(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long the SDK would try, and nothing else would be done meanwhile; 10 s by default.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "120")
    with socket.socket() as hole:
        # It takes connections, and says nothing.
        hole.bind((HOST, 0))
        hole.listen()
        process = await versions.start("v1", otlp_endpoint=f"http://{HOST}:{hole.getsockname()[1]}")
        process.link.send(TOLD)
        reports = process.link.reports()
        assert isinstance((await anext(reports))[0], messages.Ready)
        for _ in range(8):
            # Each over a connection of its own, so that both front-ends have answered some.
            caller = Caller(versions.address("v1"))
            await caller.predict(reference_rows(1), metadata=(("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),))
            await caller.channel.close()
        process.link.send(messages.Drain(0.0, 0.0))
        # However busy the machine is, and before the SDK gives up waiting for its own thread (30 s).
        async with asyncio.timeout(25):
            assert await anext(reports, None) is None
    counts = [one for one in process.link.last_counts or () if one.metric is catalog.WORKER_DURATION]
    assert sum(sum(one.counts) for one in counts) == 8


async def test_why_it_cannot_be_started_is_its_last_word(versions: Versions, tmp_path: Path) -> None:
    process = await versions.start("v1", folder=tmp_path)
    word = await first_word(process)
    assert isinstance(word, messages.Crashing)
    assert "could not be started: FileNotFoundError" in word.message


async def test_what_was_imported_for_all_versions_stays_shared(versions: Versions) -> None:
    process = await versions.ready("v1")
    # Of torch's objects alone a collection of garbage would copy 80 MB.
    lead = psutil.Process(process.pid)
    assert [own_bytes(one.pid) / 1e6 for one in (lead, *lead.children())] == pytest.approx([30.0] * 3, abs=30.0)
