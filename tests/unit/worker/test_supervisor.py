"""What the supervisor makes of artifacts and processes that do not do what they should."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.common.telemetry.logs import make_log
from services.worker.artifacts.cache import ArtifactCache
from services.worker.domain import (
    FailureCode,
    Lane,
    LoadReport,
    ServingKey,
    SignatureRef,
    TensorRef,
    Traffic,
    WantedVersion,
)
from services.worker.pipes import messages
from services.worker.settings import WorkerSettings
from services.worker.supervisor.entries import Serving
from services.worker.supervisor.lives import RETRY_SECONDS
from services.worker.supervisor.plan import Phase
from services.worker.supervisor.ports import Ports
from services.worker.supervisor.supervisor import UNANSWERED_POLLS, Supervisor
from tests.fakes.clock import ManualClock
from tests.fakes.version_process import FakeForks, FakeProcess
from tests.support.wait import until
from tests.unit.worker.test_fetch import FILES, reference, write_manifest

KEY = ServingKey("m", "v1", Traffic.LIVE)
READY = messages.Ready(LoadReport("cpu", "fp32", 1.0, 0.001, 0.0, 1, 0.0, 0.0, ""))
TENSOR = TensorRef("x", "FP32", (-1, 2))
NEVER = 1e6


class House:
    """A supervisor whose processes a test speaks for.

    Args:
        root: for its files.
        options: of its settings.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.clock = ManualClock()
        self.forks = FakeForks()
        self.cache = ArtifactCache(root / "cache", most_bytes=1)
        self.token_keys = root / "token-keys"
        self.token_keys.write_text("1 " + "ab" * 32 + "\n")
        values = {"poll_seconds": NEVER, "token_keys": self.token_keys, **options}
        forks: Any = self.forks
        host, among = values.pop("host", "127.0.0.1"), values.pop("among", None)
        self.supervisor = Supervisor(
            WorkerSettings(**values),
            "worker",
            clock=self.clock,
            log=make_log("test", "error"),
            cache=self.cache,
            forks=forks,
            ports=Ports(host, host, among),
            on_change=lambda: None,
        )

    def publish(self, version: str) -> WantedVersion:
        """An artifact of that version."""
        folder = self.root / version
        folder.mkdir()
        for name, data in FILES.items():
            (folder / name).write_bytes(data)
        write_manifest(folder, created_by=version)
        signature = SignatureRef((TENSOR,), (TENSOR,), "other", ())
        return WantedVersion(version, reference(folder), signature, (Traffic.LIVE,))

    def want(self, *versions: WantedVersion, stable: str = "v0", test: str = "v1") -> None:
        """Routes of one lane that want these."""
        self.supervisor.follow([Lane("m", "", 1, 10.0, versions, frozenset(), stable, test)] if versions else [])

    def serving(self) -> Serving:
        """What is reported of v1."""
        return next(one for one in self.supervisor.servings() if one.key == KEY)

    async def phase(self, phase: Phase) -> Serving:
        """Waits until v1 is there."""
        await until(lambda: any(one.key == KEY and one.phase is phase for one in self.supervisor.servings()))
        return self.serving()

    async def process(self, number: int = 1) -> FakeProcess:
        """Waits for the process that was started as the so manieth."""
        await until(lambda: len(self.forks.started) >= number)
        process: FakeProcess = self.forks.started[number - 1]
        return process


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Callable[..., House]]:
    """Makes a supervisor, and runs it."""
    running: list[tuple[House, asyncio.Task[None]]] = []

    def make(**options: Any) -> House:
        made = House(tmp_path, **options)
        running.append((made, asyncio.get_running_loop().create_task(made.supervisor.run())))
        return made

    yield make
    for made, task in running:
        made.supervisor.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("text", [None, "", "1 not hexadecimal\n"])
async def test_token_keys_that_are_being_exchanged_are_waited_for(house: Any, text: str | None) -> None:
    made = house()
    if text is None:
        made.token_keys.unlink()
    else:
        made.token_keys.write_text(text)
    made.want(made.publish("v1"))
    waiting = await made.phase(Phase.WAITING)
    assert str(made.token_keys) in waiting.error
    assert made.forks.started == []
    made.token_keys.write_text("2 " + "cd" * 32 + "\n")
    made.clock.advance(RETRY_SECONDS)
    process = await made.process()
    assert process.config.credentials.token_keys is not None
    process.say(READY)
    await made.phase(Phase.READY)


async def test_versions_have_processors_of_their_own_if_it_is_asked_for(house: Any) -> None:
    cores = os.sched_getaffinity(0)
    made = house(version_cores=1, parallel_loads=2)
    made.want(made.publish("v0"), made.publish("v1"))
    first, second = await made.process(1), await made.process(2)
    assert [len(one.config.cores) for one in (first, second)] == [1, 1]
    assert first.config.cores | second.config.cores <= cores
    assert len(first.config.cores | second.config.cores) == min(2, len(cores))


FAILED = messages.Failed(FailureCode.LOAD_FAILED, "the device's memory is too small for it")


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("stable", ["v0", "v1"])
async def test_what_ran_or_is_stable_is_tried_again_after_it_failed(house: Any, stable: str, damaged: bool) -> None:
    made = house()
    wanted = made.publish("v1")
    if stable == "v0":
        made.want(wanted, stable=stable)
        (await made.process()).say(READY)
        await made.phase(Phase.READY)
    program = made.root / "v1" / "program.pt2"
    if damaged:
        shutil.rmtree(made.root / "cache", ignore_errors=True)
        program.write_bytes(b"x" * len(FILES["program.pt2"]))
    if stable == "v0":
        made.forks.started[0].end()
    else:
        made.want(wanted, stable=stable)
    if not damaged:
        again = await made.process(1 + (stable == "v0"))
        again.say(FAILED)
        again.end()
    failed = await made.phase(Phase.FAILED)
    assert ("was altered" if damaged else FAILED.message) in failed.error
    program.write_bytes(FILES["program.pt2"])
    tried = len(made.forks.started)
    made.clock.advance(RETRY_SECONDS)
    (await made.process(tried + 1)).say(READY)
    await made.phase(Phase.READY)


async def test_what_is_only_being_fetched_has_no_address_yet(house: Any) -> None:
    # No port of an address that is not this machine's can be taken (RFC 5737).
    made = house(host="192.0.2.1")
    wanted = made.publish("v1")
    (made.root / "v1").rename(made.root / "later")
    made.want(wanted)
    assert (await made.phase(Phase.WAITING)).address == ""


async def test_the_artifact_of_a_version_that_failed_is_let_go(house: Any) -> None:
    made = house()
    made.want(made.publish("v1"))
    process = await made.process()
    process.say(FAILED)
    process.end()
    await made.phase(Phase.FAILED)
    made.want()
    await until(lambda: made.supervisor.servings() == [])
    # The cache keeps no more than what is in use.
    other = made.cache.fetch(made.publish("v2").artifact)
    assert [folder.name for folder in (made.root / "cache" / "sha256").iterdir()] == [other.folder.name]


async def test_a_load_has_its_time_from_the_start_of_its_process_on(house: Any) -> None:
    made = house(load_seconds=10.0)
    made.forks.answering.clear()
    first = made.publish("v1")
    made.want(first)
    await made.phase(Phase.LOADING)
    made.clock.advance(60.0)
    made.forks.answering.set()
    process = await made.process()
    process.say(READY)
    assert (await made.phase(Phase.READY)).error == ""
    made.want(first, made.publish("v2"))
    slow = await made.process(2)
    made.clock.advance(10.0)
    await until(lambda: slow.killed)
    failed = next(one for one in made.supervisor.servings() if one.key != KEY)
    assert failed.error == "it was not ready within 10 s; CROSSFADE_LOAD_SECONDS allows more"


def _is_polled_again(process: FakeProcess, polled: int) -> bool:
    return process.link.polled > polled


def _is_killed(process: FakeProcess) -> bool:
    return process.killed


async def test_a_process_that_leaves_many_polls_unanswered_has_crashed(house: Any) -> None:
    made = house(poll_seconds=0.01)
    made.want(made.publish("v1"))
    for number in (1, 2):
        process = await made.process(number)
        process.say(READY)
        await made.phase(Phase.READY)
        for _ in range(UNANSWERED_POLLS):
            assert not process.killed
            again = partial(_is_polled_again, process, process.link.polled)
            made.clock.advance(1.0)
            await until(again)
        await until(partial(_is_killed, process))
    failed = await made.phase(Phase.FAILED)
    assert failed.code == FailureCode.CRASHED
    assert f"the last time it left {UNANSWERED_POLLS} polls unanswered" in failed.error


async def test_a_version_that_must_be_quiet_for_longer_than_it_may_drain_has_time_for_both(house: Any) -> None:
    made = house(quiet_seconds=100.0, drain_seconds=1.0)
    made.want(made.publish("v1"))
    process = await made.process()
    process.say(READY)
    await made.phase(Phase.READY)
    made.want()
    await made.phase(Phase.DRAINING)
    made.clock.advance(100.0)
    # When that one is there, all limits have been looked at.
    made.want(made.publish("v2"))
    await made.process(2)
    assert not process.killed
    made.clock.advance(10.0)
    await until(lambda: process.killed)


async def figures(made: House) -> dict[str, float]:
    """What is counted of v1, by the metric's last words."""
    return {
        one.metric.name.removeprefix("crossfade.worker."): one.total + sum(one.counts)
        for one in await made.supervisor.counts()
        if one.attributes == ("m", "v1", "live")
    }


async def test_it_says_and_counts_whether_all_is_ready_that_is_wanted(house: Any) -> None:
    made = house()
    assert made.supervisor.complete
    made.want(made.publish("v1"))
    assert not made.supervisor.complete
    (await made.process()).say(READY)
    await made.phase(Phase.READY)
    assert made.supervisor.complete
    # From 0 on, so that the first crash is an increase.
    assert await figures(made) == {"version.ready": 1, "crash.count": 0, "load.failure.count": 0}
    made.forks.started[0].end()
    process = await made.process(2)
    assert not made.supervisor.complete
    assert await figures(made) == {"version.ready": 0, "crash.count": 1, "load.failure.count": 0}
    process.say(FAILED)
    process.end()
    await made.phase(Phase.FAILED)
    assert not made.supervisor.complete
    assert await figures(made) == {"version.ready": 0, "crash.count": 1, "load.failure.count": 1}
    made.want()
    assert made.supervisor.complete
    assert await figures(made) == {}
