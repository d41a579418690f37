"""Streams through the proxy: saved until the first part, charged when they have ended."""

import asyncio
from dataclasses import replace

import pytest

from router.call import Answer, Call, Reply
from router.split import ArmName
from router.table import Target
from services.common.errors import UnavailableError
from services.common.telemetry import catalog
from tests.fakes.transport import FakeParts, fail, hang
from tests.support.wait import until
from tests.unit.router.house import SECONDS, STABLE, TEST, House, lane, overrun

WHOLE = Reply("OK", begun=True)
BROKEN = Reply("INTERNAL", message="the model raised", begun=True)
DRAINED = Reply("UNAVAILABLE", message="this process ends", details=b"its own words", begun=True)
LOST = Reply("UNAVAILABLE", message="Socket closed", begun=True)
CUT = Reply("UNAVAILABLE", message="Cancelling all calls", begun=True, dismissed=True)


class Reader:
    """A caller: keeps what it is handed, each time after a pause; `handed`: how often it was handed something."""

    def __init__(self, pause: float = 0.0) -> None:
        self.parts: list[bytes] = []
        self.handed = 0
        self._pause = pause

    async def write(self, part: bytes) -> None:
        self.handed += 1
        await asyncio.sleep(self._pause)
        self.parts.append(part)


async def stream(house: House, reader: Reader, *, seconds: float = SECONDS, pin: str = "") -> Answer:
    route = house.proxy.route("churn", "", "", pin)
    call = Call(b"body", house.clock.monotonic() + seconds, streamed=True)
    return await house.proxy.stream(call, route, reader.write)


async def test_each_part_is_handed_on_and_one_attempt_is_counted() -> None:
    house, reader = House(lane()), Reader()
    answer = await stream(house, reader)
    assert (answer.reply.ok, answer.parts, answer.version) == (True, 3, "v1")
    assert reader.parts == [STABLE.encode(), b"1", b"2"]
    assert house.attempts() == {("v1", "live", "ok"): 1}


async def test_a_pinned_stream_goes_where_it_is_pinned() -> None:
    house, reader = House(lane(test=10_000)), Reader()
    assert (await stream(house, reader, pin="v1")).version == "v1"
    assert house.attempts() == {("v1", "pinned", "ok"): 1}


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED"])
async def test_a_test_version_that_fails_before_its_first_part_is_followed_by_stable(code: str) -> None:
    house, reader = House(lane(test=10_000)), Reader()
    house.transport.behaviors[TEST] = fail(code)
    answer = await stream(house, reader)
    assert (answer.version, answer.traffic, answer.parts) == ("v1", "failover", 3)
    assert house.attempts() == {("v2", "live", code): 1, ("v1", "failover", "ok"): 1}


async def test_a_stream_that_has_begun_is_not_saved_and_its_failure_is_charged() -> None:
    house, reader = House(lane(test=10_000)), Reader()
    house.transport.rests[TEST] = FakeParts(1, BROKEN)
    answer = await stream(house, reader)
    assert (answer.reply.code, answer.version, answer.parts) == ("INTERNAL", "v2", 2)
    assert house.attempts() == {("v2", "live", "INTERNAL"): 1}


async def test_broken_streams_open_the_breaker() -> None:
    house = House(lane(test=10_000))
    for _ in range(40):
        house.transport.rests[TEST] = FakeParts(1, BROKEN)
        await stream(house, Reader())
    counts = house.attempts()
    assert counts["v1", "failover", "ok"] >= 20
    assert counts["v2", "live", "INTERNAL"] <= 20


@pytest.mark.parametrize(("end", "charged"), [(LOST, {("v2", "live", "UNAVAILABLE"): 1}), (DRAINED, {}), (CUT, {})])
async def test_a_process_that_dies_is_charged_and_one_that_was_told_to_end_is_not(
    end: Reply, charged: dict[tuple[str, str, str], int]
) -> None:
    house = House(lane(test=10_000))
    house.transport.rests[TEST] = FakeParts(1, end)
    assert (await stream(house, Reader())).reply.code == "UNAVAILABLE"
    assert house.attempts() == charged


async def test_a_slow_test_version_is_left_for_stable_and_its_true_outcome_is_recorded() -> None:
    house, reader, answered = House(lane(test=10_000)), Reader(), asyncio.Event()
    house.hurry()

    async def late(_: object) -> Reply:
        await answered.wait()
        return Reply("OK", b"late", begun=True)

    house.transport.behaviors[TEST] = late
    house.transport.rests[TEST] = rest = FakeParts(5, BROKEN)
    answer = await stream(house, reader)
    assert (answer.version, reader.parts[0]) == ("v1", STABLE.encode())
    answered.set()
    await until(lambda: ("v2", "live", "INTERNAL") in house.attempts())
    assert rest.read_parts == 5


async def test_a_router_that_ends_reads_nothing_to_its_end() -> None:
    house, answered = House(lane(test=10_000)), asyncio.Event()
    house.hurry()

    async def late(_: object) -> Reply:
        await answered.wait()
        return Reply("OK", b"late", begun=True)

    house.transport.behaviors[TEST] = late
    house.transport.rests[TEST] = rest = FakeParts(10_000, WHOLE, pause=0.01)
    assert (await stream(house, Reader())).version == "v1"
    answered.set()
    await until(lambda: rest.read_parts > 0)
    await house.proxy.close()
    assert all(task.done() for task in asyncio.all_tasks() if task is not asyncio.current_task())
    read = rest.read_parts
    await asyncio.sleep(0.05)
    assert rest.read_parts == read


async def test_a_late_test_version_is_taken_when_stable_fails() -> None:
    house, reader, failed = House(lane(test=10_000)), Reader(), asyncio.Event()
    house.hurry()

    async def late(_: object) -> Reply:
        await failed.wait()
        return Reply("OK", b"late", begun=True)

    async def fails(_: object) -> Reply:
        failed.set()
        return Reply("INTERNAL", begun=True)

    house.transport.behaviors.update({TEST: late, STABLE: fails})
    answer = await stream(house, reader)
    assert (answer.version, reader.parts) == ("v2", [b"late", b"1", b"2"])
    assert house.attempts() == {("v1", "failover", "INTERNAL"): 1, ("v2", "live", "ok"): 1}


async def test_a_caller_that_leaves_takes_the_stream_with_it() -> None:
    house, reader = House(lane(test=10_000)), Reader()
    house.transport.rests[TEST] = rest = FakeParts(10_000, WHOLE, pause=0.001)
    running = asyncio.create_task(stream(house, reader))
    await until(lambda: len(reader.parts) > 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rest.left
    assert house.attempts() == {}


async def test_a_caller_that_leaves_before_the_first_part_does_too() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors[TEST] = hang()
    running = asyncio.create_task(stream(house, Reader()))
    await until(lambda: bool(house.transport.sent))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: house.transport.cancelled == 1)
    assert house.attempts() == {}


async def test_a_stream_whose_first_part_comes_when_the_callers_time_is_over_is_read_for_its_outcome() -> None:
    house, begins = House(lane(test=10_000)), asyncio.Event()

    async def late(_: object) -> Reply:
        await begins.wait()
        return Reply("OK", b"late", begun=True)

    house.transport.behaviors[TEST] = late
    house.transport.rests[TEST] = rest = FakeParts(3, BROKEN)
    running = asyncio.create_task(stream(house, Reader()))
    await until(lambda: house.transport.sent)
    await overrun(house, running)
    begins.set()
    await until(lambda: house.attempts() == {("v2", "live", "INTERNAL"): 1})
    assert rest.read_parts == 3


async def test_a_slow_reader_is_waited_for_and_its_time_is_not_the_versions() -> None:
    house, reader = House(lane(test=10_000)), Reader(pause=10.0)
    house.transport.rests[TEST] = rest = FakeParts(100, WHOLE)
    running = asyncio.create_task(stream(house, reader))
    await until(lambda: reader.handed)
    await overrun(house, running)
    assert rest.left
    assert rest.read_parts == 0
    assert house.attempts() == {}


async def test_how_long_streams_take_says_nothing_of_plain_calls() -> None:
    house = House(lane(test=10_000))
    for _ in range(70):
        house.transport.rests[STABLE] = FakeParts(1, WHOLE)
        await stream(house, Reader(), pin="v1")
    route = house.proxy.route("churn", "", "", "")
    call = Call(b"body", house.clock.monotonic() + 5)
    attempts = house.proxy._attempts
    plain = attempts.patience(route.lane, "v1", call)
    parted = attempts.patience(route.lane, "v1", call._replace(streamed=True))
    # Pins teach nothing, failovers neither; live ones do.
    assert plain.seconds(8.0) == parted.seconds(8.0) == 4.0
    live = House(lane())
    for _ in range(70):
        live.transport.rests[STABLE] = FakeParts(1, WHOLE, pause=0.002)
        await stream(live, Reader())
    attempts, route = live.proxy._attempts, live.proxy.route("churn", "", "", "")
    assert attempts.patience(route.lane, "v1", call).seconds(8.0) == 4.0
    assert attempts.patience(route.lane, "v1", call._replace(streamed=True)).seconds(8.0) < 4.0


async def test_refusals_everywhere_are_charged_to_nobody() -> None:
    house = House(lane(test=10_000))
    house.transport.behaviors.update({TEST: fail("UNAVAILABLE", begun=False), STABLE: fail("UNAVAILABLE", begun=False)})
    answer = await stream(house, Reader(), seconds=0.3)
    assert (answer.reply.code, answer.parts) == ("UNAVAILABLE", 0)
    assert house.attempts() == {}


async def test_a_deadline_that_passes_between_parts_is_charged_whoever_sees_it_first() -> None:
    house, reader = House(lane(test=10_000)), Reader()
    house.transport.rests[TEST] = FakeParts(100, WHOLE, pause=10.0)
    running = asyncio.create_task(stream(house, reader))
    await until(lambda: len(reader.parts) == 1)
    await overrun(house, running)
    assert house.attempts() == {("v2", "live", "DEADLINE_EXCEEDED"): 1}


class Ending(Reader):
    """A caller at whose second part the Router has no more time for streams."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._house = house

    async def write(self, part: bytes) -> None:
        await super().write(part)
        if len(self.parts) == 2:
            self._house.proxy.end_streams()


async def test_a_router_that_ends_breaks_off_a_stream_that_goes_on() -> None:
    house = House(lane())
    house.transport.rests[STABLE] = rest = FakeParts(2, WHOLE)
    with pytest.raises(UnavailableError, match="after 2 parts") as caught:
        await stream(house, Ending(house))
    assert caught.value.reason == "DRAINING"
    assert rest.left


async def test_a_stream_that_is_whole_when_the_router_ends_is_answered() -> None:
    house = House(lane())
    house.transport.rests[STABLE] = FakeParts(1, WHOLE)
    answer = await stream(house, Ending(house))
    assert (answer.reply.ok, answer.parts) == (True, 2)
    assert house.attempts() == {("v1", "live", "ok"): 1}


async def test_a_pinned_stream_is_none_of_those_that_could_be_mirrored() -> None:
    house = House(replace(lane(control=10_000), shadow=Target("v2", "shadow", (TEST,))))
    await stream(house, Reader(), pin="v1")
    assert not [one for one in house.store.snapshot() if one.metric is catalog.SHADOW_DROPPED_COUNT]


async def test_streams_are_not_mirrored_and_that_is_said() -> None:
    shadowed = replace(lane(control=10_000), shadow=Target("v2", "shadow", (TEST,)))
    house = House(shadowed)
    await stream(house, Reader())
    assert {sent.address for sent in house.transport.sent} == {"control:1"}
    dropped = [one for one in house.store.snapshot() if one.metric is catalog.SHADOW_DROPPED_COUNT]
    assert [(one.attributes[-1], sum(one.counts)) for one in dropped] == [("stream", 1)]


async def test_a_stream_that_no_process_serves() -> None:
    empty = lane()
    house = House(replace(empty, arms={ArmName.STABLE: Target("v1", "live", ())}))
    with pytest.raises(UnavailableError):
        await stream(house, Reader())
