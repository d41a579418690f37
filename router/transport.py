"""Attempts over gRPC: one channel per Worker process, bytes in, bytes out."""

import asyncio
import random
from collections.abc import Callable, Collection
from math import inf
from typing import Final

import grpc
import structlog
from grpc import aio

from crossfade import metadata as keys
from crossfade.errors import details_of, raw_details
from router.call import DEADLINE_EXCEEDED, PREDICT, PREDICT_STREAM, UNAVAILABLE, Metadata, Reply
from router.leaving import until_over
from router.silences import Silences
from router.unreached import Unreached
from services.common.channels import Channels
from services.common.clock import Clock

_READY: Final = grpc.ChannelConnectivity.READY
_SHUNNED_SECONDS: Final = 0.5
"""How long an address that refused is asked last."""
_LOOK_SECONDS: Final = 0.1
"""How often connections are looked at while somebody waits for one; a look at one takes 0.1 µs."""
_CRASH_SECONDS: Final = 0.5
"""A process that is told to end goes on for its time for draining. Of a crash the Registry and the Router hear at about
the same time, and either may be first."""


class _Backend:
    """One Worker process. Its channel is opened at need: while certificates are being replaced it may not be."""

    __slots__ = ("_channel", "_open", "dismissed", "in_flight", "predict", "shunned_until", "stream")

    predict: "aio.UnaryUnaryMultiCallable[bytes, bytes]"
    stream: "aio.UnaryStreamMultiCallable[bytes, bytes]"

    def __init__(self, open_it: Callable[[], aio.Channel]) -> None:
        self._open = open_it
        self._channel: aio.Channel | None = None
        self.in_flight = 0
        self.shunned_until = 0.0
        self.dismissed = -inf

    @property
    def channel(self) -> aio.Channel:
        """The channel to it.

        Raises:
            OSError, ValueError: it cannot be opened.
        """
        if self._channel is None:
            self._channel = self._open()
            self.predict = self._channel.unary_unary(PREDICT)
            self.stream = self._channel.unary_stream(PREDICT_STREAM)
        return self._channel

    @property
    def connected(self) -> bool:
        """Whether a connection stands; if none does, one is tried."""
        return self._channel is not None and self._channel.get_state(try_to_connect=True) is _READY

    async def close(self) -> None:
        """Closes the channel."""
        if self._channel is not None:
            await self._channel.close()

    def was_told(self, since: float, now: float) -> bool:
        """Whether it was told to end after a request began, and long enough before that ended."""
        return since <= self.dismissed <= now - _CRASH_SECONDS

    def failure(self, error: aio.AioRpcError, clock: Clock, dismissed: bool) -> Reply:
        """How an attempt failed; a process that refused is asked last for a while."""
        said = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
        begun = any(key == keys.ACCEPTED for key, _ in said)
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE and not begun:
            self.shunned_until = clock.monotonic() + _SHUNNED_SECONDS
        details = raw_details(error)
        reason = details_of(error).reason if details and code is grpc.StatusCode.INTERNAL else ""
        return Reply(
            code.name,
            message=error.details() or "",
            details=details,
            begun=begun,
            dismissed=dismissed,
            reason=reason,
            unsent=code is grpc.StatusCode.DEADLINE_EXCEEDED and not begun and not self.connected,
        )


class _Stream:
    """A stream under way; it counts as in flight until it has ended or is left."""

    def __init__(self, backend: _Backend, call: "aio.UnaryStreamCall[bytes, bytes]", clock: Clock) -> None:
        self._backend = backend
        self._call = call
        self._clock = clock
        self._open = True
        self._begun = clock.monotonic()
        self._dismissed: bool | None = None
        backend.in_flight += 1
        # Read later, a crash would be taken for what the Registry has made of it since.
        call.add_done_callback(self._note)

    async def read(self) -> bytes | Reply:
        """The next part, or how it ended."""
        try:
            part = await self._call.read()
        except aio.AioRpcError as error:
            self._end()
            self._note()
            return self._backend.failure(error, self._clock, bool(self._dismissed))
        except BaseException:
            self.cancel()
            raise
        if isinstance(part, bytes):
            return part
        self._end()
        return Reply("OK", begun=True)

    def cancel(self) -> None:
        """Leaves it."""
        self._call.cancel()
        self._end()

    def _note(self, *_: object) -> None:
        if self._dismissed is None:
            self._dismissed = self._backend.was_told(self._begun, self._clock.monotonic())

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._backend.in_flight -= 1


class GrpcTransport:
    """Sends attempts; prefers processes that did not refuse lately, are connected, and of two have less in flight.

    What is sent before there is a connection waits for one: for seconds, while a name is resolved that no resolver
    answers for, or where packets are dropped. Choosing the better of two random ones: Mitzenmacher, "The Power of Two
    Choices in Randomized Load Balancing", 2001.

    Args:
        channels: how to reach Workers.
        clock: how long a refusal is remembered.
        rng: which two are compared.
        log: gets a line when a process cannot be tried or reached, or gives no answer.
    """

    def __init__(
        self, channels: Channels, clock: Clock, rng: random.Random, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._channels = channels
        self._clock = clock
        self._rng = rng
        self._log = log
        self._silences = Silences(log, clock)
        self._unreached = Unreached(log, clock)
        self._backends: dict[str, _Backend] = {}
        self._used = frozenset[str]()
        self._named = frozenset[str]()

    def pick(self, addresses: tuple[str, ...], avoid: str = "") -> str:
        """The address that the next attempt should go to, another than `avoid` if there is one."""
        if len(addresses) == 1:
            return addresses[0]
        others = [address for address in addresses if address != avoid] or list(addresses)
        fit = [address for address in others if not self.shuns(address)] or others
        two = self._rng.sample(fit, min(2, len(fit)))
        there = [one for one in two if self.reaches(one)] or [one for one in fit if self.reaches(one)] or two
        return min(there, key=lambda one: self._backend(one).in_flight)

    def reaches(self, address: str) -> bool:
        """Whether a connection to it stands; if none does, one is tried."""
        backend = self._backend(address)
        return self._closed(address, backend) is None and backend.connected

    def shuns(self, address: str) -> bool:
        """Whether it is asked last.

        It refused a moment ago, or the Registry does not name it any more and no connection to it stands.
        """
        backend = self._backend(address)
        if backend.shunned_until > self._clock.monotonic():
            return True
        return address not in self._named and not backend.connected

    async def arrival(self, awaited: str, others: Collection[str]) -> str:
        """Waits until one of the others is connected while the awaited one is not, and says which."""
        while True:
            if not self._backend(awaited).connected:
                for address in others:
                    if self._backend(address).connected:
                        return address
            await asyncio.sleep(_LOOK_SECONDS)

    async def send(
        self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool, method: str = PREDICT
    ) -> Reply:
        """One attempt at one process."""
        backend = self._backend(address)
        if (closed := self._closed(address, backend)) is not None:
            return closed
        backend.in_flight += 1
        begun = self._clock.monotonic()
        multicallable = backend.predict if method == PREDICT else backend.channel.unary_unary(method)
        call = multicallable(body, timeout=timeout, metadata=metadata, wait_for_ready=wait)
        try:
            await until_over(call)
            return Reply("OK", await call, begun=True)
        except aio.AioRpcError as error:
            now = self._clock.monotonic()
            reply = backend.failure(error, self._clock, backend.was_told(begun, now))
            if reply.code == DEADLINE_EXCEEDED:
                self._silent(address, backend, now - begun, accepted=reply.begun, waited=wait)
            return reply
        except asyncio.CancelledError:
            # A busy loop lets the caller's deadline cancel the handler before the attempt's own timeout ends it.
            if (seconds := self._clock.monotonic() - begun) >= timeout:
                self._silent(address, backend, seconds, accepted=None, waited=wait)
            raise
        finally:
            backend.in_flight -= 1

    async def open(self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool) -> Reply:
        """One attempt at a stream at one process: its first part, with the rest, or how it failed before."""
        backend = self._backend(address)
        if (closed := self._closed(address, backend)) is not None:
            return closed
        call = backend.stream(body, timeout=timeout, metadata=metadata, wait_for_ready=wait)
        stream = _Stream(backend, call, self._clock)
        first = await stream.read()
        if isinstance(first, bytes):
            return Reply("OK", first, begun=True, rest=stream)
        return first if not first.ok else Reply("INTERNAL", message="the stream ended without a part", begun=True)

    def connect(self, addresses: frozenset[str]) -> None:
        """Connects to the table's processes ahead of need; to one that cannot be tried now, at need."""
        new, self._used = addresses - self._used, addresses
        for address in new:
            backend = self._backend(address)
            if self._closed(address, backend) is None:
                backend.channel.get_state(try_to_connect=True)

    def name(self, addresses: frozenset[str]) -> None:
        """Notes which processes the Registry names: one that it ceases to name is told to end, or is gone."""
        gone, self._named = self._named - addresses, addresses
        for address in gone & self._backends.keys():
            self._backends[address].dismissed = self._clock.monotonic()

    def look(self) -> None:
        """Tells of named processes to which no connection stands for long; to be called again and again."""
        self._unreached.look(self._named, self.reaches)

    async def retain(self) -> None:
        """Closes the channels to processes that the latest table does not name and no attempt uses."""
        for address in self._backends.keys() - self._used:
            # While one is closed, another table may come, and an attempt begin.
            backend = self._backends.get(address)
            if backend is not None and address not in self._used and backend.in_flight == 0:
                del self._backends[address]
                await backend.close()

    async def close(self) -> None:
        """Closes every channel."""
        for backend in self._backends.values():
            await backend.close()
        self._backends.clear()

    def _silent(self, address: str, backend: _Backend, seconds: float, *, accepted: bool | None, waited: bool) -> None:
        self._silences.note(
            address,
            seconds,
            accepted=accepted,
            connected=backend.connected,
            waited=waited,
            in_flight=backend.in_flight,
        )

    def _backend(self, address: str) -> _Backend:
        backend = self._backends.get(address)
        if backend is None:
            backend = self._backends[address] = _Backend(lambda: self._channels.open(address))
        return backend

    def _closed(self, address: str, backend: _Backend) -> Reply | None:
        """A refusal if no channel to the process can be opened now."""
        try:
            backend.channel  # noqa: B018 - opens it
        except (OSError, ValueError) as error:
            if not self.shuns(address):
                self._log.warning("no channel to a Worker; it is tried again", address=address, reason=str(error))
            backend.shunned_until = self._clock.monotonic() + _SHUNNED_SECONDS
            return Reply(UNAVAILABLE, message=str(error))
        return None
