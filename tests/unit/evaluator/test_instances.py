"""Reading processes over channels, some of which cannot even be opened."""

from collections.abc import Callable

import pytest
from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2
from evaluator.instances import InstanceSource
from evaluator.ports import ProcessView
from evaluator.traces import RouterTraces
from services.common.telemetry import otlp
from services.common.telemetry.store import MetricStore
from tests.fakes.clock import ManualClock
from tests.fakes.rollouts import demo_terms


class Answer:
    """A call that has been answered."""

    def __await__(self):  # type: ignore[no-untyped-def] # a generator that never yields
        yield from ()
        resource = otlp.Resource("crossfade-router", "router-1", 1)
        return telemetry_pb2.GetMetricsResponse(metrics_data=otlp.encode(resource, MetricStore().snapshot(), 2))

    def cancel(self) -> None:
        """Nothing is left to cancel."""


class Channel:
    """A channel to a process that answers at once."""

    def unary_unary(self, *args: object, **options: object) -> Callable[..., Answer]:
        del args, options
        return lambda *_, **__: Answer()

    async def close(self) -> None:
        """Nothing is open."""


PROCESSES = (ProcessView("router-1", "10.0.0.1:1", False), ProcessView("router-2", "bad", False))


@pytest.mark.parametrize("problem", [ValueError("not an address"), FileNotFoundError("no such certificate")])
async def test_a_channel_that_cannot_be_opened_leaves_one_process_unread(problem: Exception) -> None:
    def connect(address: str) -> aio.Channel:
        if address == "bad":
            raise problem
        return Channel()  # type: ignore[return-value] # as much of one as is needed

    source = InstanceSource(connect, ManualClock(), ())
    for _ in range(2):
        good, bad = await source.read(PROCESSES, demo_terms(), 1.0)
        assert (good.instance_id, good.series) == ("router-1", ())
        assert (bad.instance_id, bad.series) == ("router-2", None)
        assert bad.error == f"no channel can be opened to its address 'bad': {problem}"
    await source.close()


async def test_nor_does_it_hold_up_a_decision() -> None:
    def connect(address: str) -> aio.Channel:
        raise ValueError(address)

    assert await RouterTraces(connect, ()).of(PROCESSES, demo_terms()) == ()
