"""Attempts over gRPC: one channel per Worker process, bytes in, bytes out."""

import random
from math import inf
from typing import Final

import grpc
from grpc import aio

from crossfade import metadata as keys
from crossfade.errors import raw_details
from router.call import PREDICT, PREDICT_STREAM, Metadata, Reply
from services.common.channels import open_channel
from services.common.clock import Clock
from services.common.settings import TlsSettings

_SHUNNED_SECONDS: Final = 0.5
"""How long an address that refused is asked last."""
_CRASH_SECONDS: Final = 0.5
"""A process that is told to end goes on for its time for draining. Of a crash the Registry and the Router hear at about
the same time, and either may be first."""


class _Backend:
    """One Worker process."""

    __slots__ = ("channel", "dismissed", "in_flight", "named", "predict", "shunned_until", "stream")

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.predict: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        self.stream: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(PREDICT_STREAM)
        self.in_flight = 0
        self.shunned_until = 0.0
        self.named = False
        self.dismissed = -inf

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
        return Reply(
            code.name, message=error.details() or "", details=raw_details(error), begun=begun, dismissed=dismissed
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
    """Sends attempts; prefers processes that did not refuse lately, and of two the one with less in flight.

    Choosing the better of two random ones: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.

    Args:
        tls: how to reach Workers.
        clock: how long a refusal is remembered.
        rng: which two are compared.
    """

    def __init__(self, tls: TlsSettings, clock: Clock, rng: random.Random) -> None:
        self._tls = tls
        self._clock = clock
        self._rng = rng
        self._backends: dict[str, _Backend] = {}

    def pick(self, addresses: tuple[str, ...], avoid: str = "") -> str:
        """The address that the next attempt should go to, another than `avoid` if there is one."""
        if len(addresses) == 1:
            return addresses[0]
        others = [address for address in addresses if address != avoid] or list(addresses)
        now = self._clock.monotonic()
        fit = [address for address in others if self._backend(address).shunned_until <= now] or others
        if len(fit) == 1:
            return fit[0]
        one, other = self._rng.sample(fit, 2)
        return one if self._backend(one).in_flight <= self._backend(other).in_flight else other

    async def send(
        self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool, method: str = PREDICT
    ) -> Reply:
        """One attempt at one process."""
        backend = self._backend(address)
        backend.in_flight += 1
        begun = self._clock.monotonic()
        multicallable = backend.predict if method == PREDICT else backend.channel.unary_unary(method)
        call = multicallable(body, timeout=timeout, metadata=metadata, wait_for_ready=wait)
        try:
            return Reply("OK", await call, begun=True)
        except aio.AioRpcError as error:
            return backend.failure(error, self._clock, backend.was_told(begun, self._clock.monotonic()))
        finally:
            backend.in_flight -= 1
            # grpc.aio never collects an abandoned call; one that has ended costs 13 µs to cancel.
            if not call.done():
                call.cancel()

    async def open(self, address: str, body: bytes, metadata: Metadata, timeout: float, *, wait: bool) -> Reply:
        """One attempt at a stream at one process: its first part, with the rest, or how it failed before."""
        backend = self._backend(address)
        call = backend.stream(body, timeout=timeout, metadata=metadata, wait_for_ready=wait)
        stream = _Stream(backend, call, self._clock)
        first = await stream.read()
        if isinstance(first, bytes):
            return Reply("OK", first, begun=True, rest=stream)
        return first if not first.ok else Reply("INTERNAL", message="the stream ended without a part", begun=True)

    def connect(self, addresses: frozenset[str]) -> None:
        """Opens channels to these processes ahead of need, and forgets idle ones to others."""
        for address in addresses:
            self._backend(address).channel.get_state(try_to_connect=True)

    def name(self, addresses: frozenset[str]) -> None:
        """Notes which processes the Registry names: one that it ceases to name is told to end, or is gone."""
        for address, backend in self._backends.items():
            if backend.named and address not in addresses:
                backend.dismissed = self._clock.monotonic()
            backend.named = address in addresses

    async def retain(self, addresses: frozenset[str]) -> None:
        """Closes the channels to processes that no table names and no attempt uses."""
        for address in [known for known in self._backends if known not in addresses]:
            if self._backends[address].in_flight == 0:
                await self._backends.pop(address).channel.close()

    async def close(self) -> None:
        """Closes every channel."""
        for backend in self._backends.values():
            await backend.channel.close()
        self._backends.clear()

    def _backend(self, address: str) -> _Backend:
        backend = self._backends.get(address)
        if backend is None:
            backend = self._backends[address] = _Backend(open_channel(address, self._tls))
        return backend
