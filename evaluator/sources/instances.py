"""Counts from the processes themselves: GetMetrics of every Router and Worker."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade.telemetry.v1 import telemetry_pb2, telemetry_pb2_grpc
from evaluator.ports import ProcessView
from evaluator.terms import Terms
from evaluator.window.arms import read_of
from evaluator.window.readings import Reading
from evaluator.window.snapshots import found_in
from services.common.clock import Clock
from services.common.left import Left
from services.common.telemetry import otlp

Metadata = tuple[tuple[str, str], ...]
KEPT_SECONDS: Final = 900.0
"""How long a process is remembered that no look reads: looks at other models' lanes read other Workers."""


class InstanceSource:
    """Pulls metrics from processes, over one channel each.

    Args:
        connect: opens a channel to host:port.
        clock: when a process was read.
        metadata: goes with every call.
    """

    def __init__(self, connect: Callable[[str], aio.Channel], clock: Clock, metadata: Metadata) -> None:
        self._connect = connect
        self._clock = clock
        self._metadata = metadata
        self._channels: dict[str, aio.Channel] = {}
        # Of each process's last answer about a lane: its time, and when it came.
        self._times: dict[str, dict[tuple[str, str], tuple[int, float]]] = {}
        self._readers: Counter[str] = Counter()
        self._left_addresses = Left[str](KEPT_SECONDS)
        self._left_processes = Left[str](KEPT_SECONDS)

    def age(self, terms: Terms) -> float:
        """Seconds that counts may be old when they are read: a process answers with those of the moment."""
        del terms
        return 0.0

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        """Reads every process at once; those that fail within `timeout` seconds give a reading without series."""
        await self._keep(processes)
        return await asyncio.gather(*(self._read(process, terms, timeout) for process in processes))

    async def _keep(self, processes: Sequence[ProcessView]) -> None:
        """Forgets the processes that no look has read for long, which have gone, and closes the channels to them."""
        now = self._clock.monotonic()
        for name in self._left_processes.over(self._times, {process.instance_id for process in processes}, now):
            del self._times[name]
        # Another rollout's look may still wait for an answer over one of them.
        held = {process.address for process in processes} | self._readers.keys()
        await self._close(self._left_addresses.over(self._channels, held, now))

    async def close(self) -> None:
        """Closes every channel."""
        await self._close([*self._channels])

    async def _close(self, addresses: Iterable[str]) -> None:
        # All of them are taken away first: to close one may take a while, in which a look may want another.
        for channel in [self._channels.pop(address) for address in addresses]:
            await channel.close()

    async def _read(self, process: ProcessView, terms: Terms, timeout: float) -> Reading:
        channel = self._channels.get(process.address)
        if channel is None:
            try:
                channel = self._channels[process.address] = self._connect(process.address)
            except (OSError, ValueError) as error:
                return self._nothing(process, f"no channel can be opened to its address {process.address!r}: {error}")
        stub = telemetry_pb2_grpc.TelemetryServiceStub(channel)
        request = telemetry_pb2.GetMetricsRequest(names=read_of(terms), model=terms.model)
        asked = self._clock.monotonic()
        call = stub.GetMetrics(request, timeout=timeout, metadata=self._metadata)
        self._readers[process.address] += 1
        try:
            response = await call
            pull = otlp.decode(response.metrics_data)
        except aio.AioRpcError as error:
            return self._nothing(process, _why(error))
        except (DecodeError, ValueError) as error:
            return self._nothing(process, f"its metrics cannot be read: {error}")
        finally:
            call.cancel()
            self._readers[process.address] -= 1
            # Where processes get new addresses, there is no end of those that have gone.
            if not self._readers[process.address]:
                del self._readers[process.address]
        if pull.instance_id and pull.instance_id != process.instance_id:
            return self._nothing(process, "another process answers at its address")
        times, lane = self._times.setdefault(process.instance_id, {}), (terms.model, terms.segment)
        time_ns, came = times.get(lane, (0, 0.0))
        # Who asks while another answer is written shares the next one with all who ask meanwhile.
        if pull.time_ns and pull.time_ns == time_ns and asked >= came:
            return self._nothing(process, "its metrics do not move on: they have the time of the look before")
        times[lane] = pull.time_ns, self._clock.monotonic()
        now = round(self._clock.now() * 1e6)
        found = found_in(pull.snapshots, terms)
        # By the process's own clock they have counted for so long; the Evaluator's may differ.
        started = now - (pull.time_ns - pull.start_ns) // 1000 if pull.start_ns else 0
        begun = {key: now - (pull.time_ns - start) // 1000 for key, start in found.start_ns.items()}
        if len(set(begun.values())) == 1:
            # A release before says of every series when its process started.
            begun = {}
        return Reading(process.instance_id, now, found.series, started_us=started, begun_us=begun)

    def _nothing(self, process: ProcessView, why: str) -> Reading:
        return Reading(process.instance_id, round(self._clock.now() * 1e6), None, why)


def _why(error: aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "it did not answer in time"
    return f"it did not answer ({error.code().name}: {error.details()})"
