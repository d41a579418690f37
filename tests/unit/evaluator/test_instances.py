"""Reading processes over channels, some of which cannot even be opened."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from grpc import aio
from opentelemetry.proto.metrics.v1 import metrics_pb2

from crossfade.telemetry.v1 import telemetry_pb2
from evaluator.ports import ProcessView
from evaluator.sources.instances import KEPT_SECONDS, InstanceSource
from evaluator.sources.traces import RouterTraces
from services.common.telemetry import catalog, otlp
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.rollouts import demo_terms
from tests.support.wait import until


class Answer:
    """A call that has been answered, after 61 s, with series that count since then (seconds)."""

    def __init__(self, starts: Sequence[int], name: str = "router-1") -> None:
        self._starts = starts
        self._name = name

    def __await__(self):  # type: ignore[no-untyped-def] # a generator that never yields
        yield from ()
        resource = otlp.Resource("crossfade-router", self._name, 1_000_000_000)
        clock = ManualClock(0.0)
        store = MetricStore(lambda: round(clock.now() * 1e9))
        store.gauge(catalog.CONTROL_PLANE_AGE).set(1.0)
        for number, start in enumerate(self._starts):
            clock.advance(start - clock.now())
            store.counter(catalog.ROUTE_COUNT, "digits", "", "test", str(number)).add()
        return telemetry_pb2.GetMetricsResponse(metrics_data=otlp.encode(resource, store.snapshot(), 61_000_000_000))

    def cancel(self) -> None:
        """Nothing is left to cancel."""


class Channel:
    """A channel to a process that answers at once."""

    def __init__(self, *starts: int, name: str = "router-1") -> None:
        self._starts = starts or (1,)
        self._name = name
        self.asked: frozenset[str] = frozenset()

    def unary_unary(self, *args: object, **options: object) -> Callable[..., Answer]:
        del args, options

        def answer(request: telemetry_pb2.GetMetricsRequest, **_: object) -> Answer:
            self.asked = frozenset(request.names)
            return Answer(self._starts, self._name)

        return answer

    async def close(self) -> None:
        """Nothing is open."""


PROCESSES = (ProcessView("router-1", "10.0.0.1:1", False), ProcessView("router-2", "bad", False))


async def test_a_process_started_by_the_evaluators_clock_when_its_own_says_how_long_ago() -> None:
    clock = ManualClock()
    source = InstanceSource(lambda _: Channel(), clock, ())  # type: ignore[arg-type,return-value] # as much as is needed
    (found,) = await source.read(PROCESSES[:1], demo_terms(), 1.0)
    assert found.started_us == round((clock.now() - 60.0) * 1e6)
    await source.close()


async def test_nothing_stays_of_processes_that_have_gone() -> None:
    clock = ManualClock()
    source = InstanceSource(lambda _: Channel(), clock, ())  # type: ignore[arg-type,return-value] # likewise
    for number in range(20):
        processes = [ProcessView(f"router-{one}", f"10.0.0.{one}:1", False) for one in (number, number + 1)]
        await source.read(processes, demo_terms(), 1.0)
        clock.advance(KEPT_SECONDS)
    assert source._channels.keys() == {"10.0.0.18:1", "10.0.0.19:1", "10.0.0.20:1"}
    assert source._times.keys() <= {"router-18", "router-19", "router-20"}
    assert not source._readers.keys()
    await source.close()
    assert not source._channels


async def test_looks_at_lanes_that_other_workers_serve_take_nothing_from_one_another() -> None:
    """Neither their channels nor the time of the answer before, by which one that stands still is known."""
    opened: list[str] = []

    def connect(address: str) -> Channel:
        opened.append(address)
        return Channel(name=address)

    source = InstanceSource(connect, ManualClock(), ())  # type: ignore[arg-type] # as much of one as is needed
    workers = [ProcessView(address, address, True) for address in ("10.0.0.2:1", "10.0.0.3:1")]
    first, second = [
        [found.error for worker in workers for found in await source.read([worker], demo_terms(), 1.0)]
        for _ in range(2)
    ]
    assert opened == [worker.address for worker in workers]
    assert first == ["", ""]
    assert all("do not move on" in error for error in second)
    await source.close()


@pytest.mark.parametrize(("starts", "ages"), [((1, 31, 59), [60.0, 30.0, 2.0]), ((1, 1), [])], ids=["each", "before"])
async def test_each_series_says_since_when_it_counts_and_a_release_before_says_it_of_the_process(
    starts: tuple[int, ...], ages: list[float]
) -> None:
    clock = ManualClock()
    source = InstanceSource(lambda _: Channel(*starts), clock, ())  # type: ignore[arg-type,return-value] # likewise
    (found,) = await source.read(PROCESSES[:1], demo_terms(), 1.0)
    assert [clock.now() - begun / 1e6 for _, begun in sorted(found.begun_us.items())] == ages
    assert found.started_us == round((clock.now() - 60.0) * 1e6)
    await source.close()


@pytest.mark.parametrize("problem", [ValueError("not an address"), FileNotFoundError("no such certificate")])
async def test_a_channel_that_cannot_be_opened_leaves_one_process_unread(problem: Exception) -> None:
    def connect(address: str) -> aio.Channel:
        if address == "bad":
            raise problem
        return Channel()  # type: ignore[return-value] # as much of one as is needed

    source = InstanceSource(connect, ManualClock(), ())
    good, bad = await source.read(PROCESSES, demo_terms(), 1.0)
    assert (good.instance_id, good.error) == ("router-1", "")
    assert good.series
    assert (bad.instance_id, bad.series) == ("router-2", None)
    assert bad.error == f"no channel can be opened to its address 'bad': {problem}"
    await source.close()


class Torn(Answer):
    """One whose attempts come twice, and once without their last bucket."""

    def __await__(self):  # type: ignore[no-untyped-def] # as above
        yield from ()
        store = MetricStore()
        named = {"model": "digits", "version": "v2", "traffic": "live", "outcome": "ok", "epoch": "1"}
        series = store.histogram(
            catalog.ATTEMPT_DURATION, *(named.get(name, "") for name in catalog.ATTEMPT_DURATION.attributes)
        )
        series.record(0.01)
        resource = otlp.Resource("crossfade-router", "router-2", 1_000_000_000)
        data = metrics_pb2.MetricsData.FromString(otlp.encode(resource, store.snapshot(), 61_000_000_000))
        points = data.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points
        points.add().CopyFrom(points[0])
        points[1].bucket_counts.pop()
        return telemetry_pb2.GetMetricsResponse(metrics_data=data.SerializeToString())


async def test_an_answer_that_cannot_be_read_leaves_one_process_unread() -> None:
    class Tearing(Channel):
        """A channel to a process whose answers are torn."""

        def unary_unary(self, *args: object, **options: object) -> Callable[..., Answer]:
            del args, options
            return lambda *_, **__: Torn(())

    def connect(address: str) -> Channel:
        return Tearing() if address == "bad" else Channel()

    source = InstanceSource(connect, ManualClock(), ())  # type: ignore[arg-type] # as much of one as is needed
    good, torn = await source.read(PROCESSES, demo_terms(), 1.0)
    assert good.series
    assert (torn.instance_id, torn.series) == ("router-2", None)
    assert torn.error.startswith(f"its metrics cannot be read: {catalog.ATTEMPT_DURATION.name} came with ")
    await source.close()


async def test_a_channel_that_cannot_be_opened_holds_up_no_decision() -> None:
    def connect(address: str) -> aio.Channel:
        raise ValueError(address)

    assert await RouterTraces(connect, ()).of(PROCESSES, demo_terms()) == ()


class Waiting(Answer):
    """One that is written for all who wait until they are let go."""

    def __init__(self, written: asyncio.Event) -> None:
        super().__init__((1,))
        self._written = written

    def __await__(self):  # type: ignore[no-untyped-def] # as above
        yield from self._written.wait().__await__()
        return (yield from super().__await__())  # type: ignore[no-untyped-call] # as above


async def test_an_answer_that_two_share_who_asked_at_once_moves_on_for_both() -> None:
    clock, written = ManualClock(), asyncio.Event()
    asked: list[Waiting] = []

    def ask(*_: object, **__: object) -> Waiting:
        asked.append(Waiting(written))
        return asked[-1]

    class Shared(Channel):
        """A channel to a process that writes one answer for all who wait."""

        def unary_unary(self, *args: object, **options: object) -> Callable[..., Answer]:
            del args, options
            return ask

    source = InstanceSource(lambda _: Shared(), clock, ())  # type: ignore[arg-type,return-value] # likewise
    reading = [asyncio.create_task(source.read(PROCESSES[:1], demo_terms(), 1.0)) for _ in range(2)]
    await until(lambda: len(asked) == 2)
    clock.advance(1.0)
    written.set()
    assert [one.error for (one,) in await asyncio.gather(*reading)] == ["", ""]
    (later,) = await source.read(PROCESSES[:1], demo_terms(), 1.0)
    assert "do not move on" in later.error
    await source.close()


async def test_how_alike_predictions_are_is_asked_where_classes_can_be_judged_alone() -> None:
    """Of many classes it is two thirds of what a Worker says."""
    channel = Channel()
    source = InstanceSource(lambda _: channel, ManualClock(), ())  # type: ignore[arg-type,return-value] # enough of one
    few = demo_terms()
    rollout = replace(few, declared=tuple(str(number) for number in range(catalog.BALANCED_CLASSES + 1)))
    alike = {catalog.PREDICTION_ALIKE.name}
    await source.read(PROCESSES[:1], rollout, 1.0)
    assert catalog.PREDICTION_COUNT.name in channel.asked
    assert not channel.asked & alike
    # A lane that is watched, and a rollout that may be replayed by a policy with such a gate.
    for terms in (replace(rollout, stable=""), few):
        channel.asked = frozenset()
        await source.read(PROCESSES[:1], terms, 1.0)
        assert channel.asked & alike
