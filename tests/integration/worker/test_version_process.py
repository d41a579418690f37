"""The processes of one version, spoken to as the supervisor does."""

import asyncio
import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from multiprocessing import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from crossfade import metadata as keys_of
from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from services.worker.credentials import Credentials
from services.worker.domain import Context, LaneContext, ServingKey, Traffic
from services.worker.pipes import messages
from services.worker.process_config import ChildConfig
from services.worker.settings import WorkerSettings
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.process import ForkServer, VersionProcess, end_server
from services.worker.version.memory import own_bytes
from tests.fakes.models import reference_rows
from tests.integration.worker.conftest import Caller
from tests.support.wait import until

_HOST = "127.0.0.1"
_TOLD = messages.Tell(Context((LaneContext("", 7, 60.0),)), ())


class _Versions:
    """Starts processes of one artifact."""

    def __init__(self, artifact: Path, token_keys: Path) -> None:
        self.ports = Ports(_HOST, _HOST)
        self.processes: list[VersionProcess] = []
        self._artifact = artifact
        self.credentials = Credentials(TokenKeys.parse(token_keys.read_text()))
        self._settings = WorkerSettings(token_keys=token_keys, version_threads=1)
        self.forks = ForkServer(threads=1)

    async def start(
        self,
        version: str,
        address: str = "",
        folder: Path | None = None,
        front_ends: int = 2,
        otlp_endpoint: str = "",
        cores: frozenset[int] = frozenset(),
    ) -> VersionProcess:
        key = ServingKey("scores", version, Traffic.LIVE)
        settings = self._settings.model_copy(update={"front_ends": front_ends, "otlp_endpoint": otlp_endpoint})
        address = address or self.ports.listen_address(key)
        config = ChildConfig(
            key=key,
            folder=folder or self._artifact,
            address=address,
            settings=settings,
            instance_id="worker",
            ordered_at=time.monotonic(),
            credentials=self.credentials,
            cores=cores,
        )
        process = await self.forks.start(config)
        self.processes.append(process)
        return process

    def address(self, version: str) -> str:
        return self.ports.advertised_address(ServingKey("scores", version, Traffic.LIVE))


@pytest.fixture
def keys(token_keys: Path) -> TokenKeys:
    """What the versions sign with."""
    return TokenKeys.parse(token_keys.read_text())


@pytest.fixture
async def versions(artifacts: Callable[..., Any], token_keys: Path) -> AsyncIterator[_Versions]:
    """Ends what was started."""
    started = _Versions(artifacts().artifact.path, token_keys)
    yield started
    for process in started.processes:
        process.kill()
        await process.exit_code()
    started.ports.close()


async def _first_word(process: VersionProcess) -> messages.Message:
    return (await anext(process.link.reports()))[0]


async def test_it_serves_only_when_it_knows_its_lanes(versions: _Versions, keys: TokenKeys) -> None:
    untold = await versions.start("v1")
    first_word = asyncio.create_task(_first_word(untold))
    told = await versions.start("v2")
    told.link.send(_TOLD)
    assert isinstance(await _first_word(told), messages.Ready)
    # Started earlier, it would be ready too.
    assert not first_word.done()
    untold.link.send(_TOLD)
    assert isinstance(await first_word, messages.Ready)
    caller = Caller(versions.address("v1"))
    response = await caller.predict(reference_rows(1))
    await caller.channel.close()
    token = response.parameters["crossfade_prediction_id"].string_param
    assert keys.verify(token).epoch == 7


async def test_all_its_threads_keep_to_its_processors(versions: _Versions) -> None:
    (core, *_) = os.sched_getaffinity(0)
    process = await versions.start("v1", cores=frozenset({core}))
    process.link.send(_TOLD)
    assert isinstance(await _first_word(process), messages.Ready)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) == 3
    threads = [thread.id for one in family for thread in one.threads()]
    assert [os.sched_getaffinity(thread) for thread in threads] == [{core}] * len(threads)


async def test_its_fork_is_made_on_its_processors_too(versions: _Versions) -> None:
    (core, *_) = every = os.sched_getaffinity(0)
    process = await versions.start("v1", cores=frozenset({core}))
    forking = psutil.Process(process.pid).parent()
    assert forking is not None
    assert os.sched_getaffinity(forking.pid) == {core}
    await versions.start("v2")
    assert os.sched_getaffinity(forking.pid) == every


async def test_where_its_lanes_epoch_falls_labels_of_higher_ones_are_too_late(versions: _Versions) -> None:
    process = await versions.start("v1")
    process.link.send(_TOLD)
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


async def test_a_profile_that_is_not_there_does_not_end_it(versions: _Versions) -> None:
    process = await versions.start("v1")
    process.link.send(replace(_TOLD, profiles=("/nowhere",)))
    assert isinstance(await _first_word(process), messages.Ready)


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_why_it_cannot_serve_is_its_last_word(versions: _Versions, front_ends: int) -> None:
    # Documentation's (RFC 5737), so nobody's.
    process = await versions.start("v1", address="192.0.2.1:1", front_ends=front_ends)
    process.link.send(_TOLD)
    word = await _first_word(process)
    assert isinstance(word, messages.Crashing)
    assert "could not serve: RuntimeError('Failed to bind to address 192.0.2.1:1" in word.message


async def test_counts_that_its_pipe_does_not_hold_are_its_last_word_all_the_same(versions: _Versions) -> None:
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


async def test_a_receiver_of_traces_that_hangs_does_not_hold_its_last_counts(versions: _Versions) -> None:
    with socket.socket() as hole:
        # It takes connections, and says nothing.
        hole.bind((_HOST, 0))
        hole.listen()
        process = await versions.start("v1", otlp_endpoint=f"http://{_HOST}:{hole.getsockname()[1]}")
        process.link.send(_TOLD)
        reports = process.link.reports()
        assert isinstance((await anext(reports))[0], messages.Ready)
        for _ in range(8):
            # Each over a connection of its own, so that both front-ends have answered some.
            caller = Caller(versions.address("v1"))
            await caller.predict(reference_rows(1), metadata=(("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),))
            await caller.channel.close()
        process.link.send(messages.Drain(0.0, 0.0))
        # The SDK would try for 7 to 10 s, and nothing else would be done meanwhile.
        async with asyncio.timeout(6):
            assert await anext(reports, None) is None
    counts = [one for one in process.link.last_counts or () if one.metric is catalog.WORKER_DURATION]
    assert sum(sum(one.counts) for one in counts) == 8


async def test_why_it_cannot_be_started_is_its_last_word(versions: _Versions, tmp_path: Path) -> None:
    process = await versions.start("v1", folder=tmp_path)
    word = await _first_word(process)
    assert isinstance(word, messages.Crashing)
    assert "could not be started: FileNotFoundError" in word.message


async def test_a_fork_server_that_does_not_answer_is_replaced_and_its_forks_live_on(versions: _Versions) -> None:
    before = await versions.start("v1")
    before.link.send(_TOLD)
    assert isinstance(await _first_word(before), messages.Ready)
    server = psutil.Process(before.pid).parent()
    assert server is not None
    server.suspend()
    versions.forks = ForkServer(threads=1, limit_seconds=0.5)
    with pytest.raises(OSError, match=r"did not answer within 0\.5 s, and was ended"):
        await versions.start("v2")
    versions.forks = ForkServer(threads=1)
    after = await versions.start("v2")
    after.link.send(_TOLD)
    assert isinstance(await _first_word(after), messages.Ready)
    caller = Caller(versions.address("v1"))
    await caller.predict(reference_rows(1))
    await caller.channel.close()
    # multiprocessing takes it for ended by now.
    before.kill()
    await before.exit_code()
    # Whoever took it over need not have asked for its status.
    assert not psutil.pid_exists(before.pid) or psutil.Process(before.pid).status() == psutil.STATUS_ZOMBIE


class _SlowlyPickled:
    """Stands in for a config."""

    key = "slow"
    cores: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.pickling, self.go_on = threading.Event(), threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        self.pickling.set()
        assert self.go_on.wait(30)
        return SimpleNamespace, ()


async def test_a_start_that_is_cancelled_leaves_the_fork_server_to_others(versions: _Versions) -> None:
    server = psutil.Process((await versions.start("v1")).pid).ppid()
    config: Any = _SlowlyPickled()
    starting = asyncio.create_task(versions.forks.start(config))
    await until(config.pickling.is_set)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    config.go_on.set()
    await until(lambda: all(one.name != "fork" for one in threading.enumerate()))
    assert psutil.Process((await versions.start("v2")).pid).ppid() == server


def _tidy_up(folder: Path, whole: bool) -> None:
    for left in folder.iterdir():
        left.unlink()
    if whole:
        folder.rmdir()


@pytest.mark.parametrize("whole", [False, True])
async def test_a_fork_server_whose_socket_was_tidied_up_is_replaced(versions: _Versions, whole: bool) -> None:
    before = await versions.start("v1")
    before.link.send(_TOLD)
    assert isinstance(await _first_word(before), messages.Ready)
    _tidy_up(Path(util.get_temp_dir()), whole)
    after = await versions.start("v2")
    after.link.send(_TOLD)
    assert isinstance(await _first_word(after), messages.Ready)
    caller = Caller(versions.address("v1"))
    await caller.predict(reference_rows(1))
    await caller.channel.close()


async def test_what_was_imported_for_all_versions_stays_shared(versions: _Versions) -> None:
    process = await versions.start("v1")
    process.link.send(_TOLD)
    assert isinstance(await _first_word(process), messages.Ready)
    # Of torch's objects alone a collection of garbage would copy 80 MB.
    lead = psutil.Process(process.pid)
    assert [own_bytes(one.pid) / 1e6 for one in (lead, *lead.children())] == pytest.approx([30.0] * 3, abs=30.0)


async def test_threads_that_a_setting_asks_for_go_before_the_environment(
    versions: _Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    said = []
    for own in (False, True):
        end_server()
        versions.forks = ForkServer(threads=3, own=own)
        process = await versions.start(f"v{own:d}")
        server = psutil.Process(process.pid).parent()
        assert server is not None
        said.append(server.environ()["OMP_NUM_THREADS"])
    assert said == ["7", "3"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
