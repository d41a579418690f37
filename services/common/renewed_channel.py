"""A channel that shows the certificate of today: gRPC's own ones show that of their start for as long as they are.

Certificates that hold for a day or an hour are exchanged on disk while a process runs. So there is a new channel for
each pair of files, and calls move to it once its connection stands; what is under way stays where it began.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc import aio

_READY: Final = grpc.ChannelConnectivity.READY

Open = Callable[[grpc.ChannelCredentials], aio.Channel]


class _One:
    """A channel, and how many calls are under way over it; `left`: there are no new ones."""

    __slots__ = ("calls", "channel", "left")

    def __init__(self, channel: aio.Channel) -> None:
        self.channel = channel
        self.calls = 0
        self.left = False


class RenewedChannel(aio.Channel):
    """Calls over the latest of several channels.

    Args:
        open_with: opens a channel that shows a certificate.
        credentials: gives those of today, the same object until they change; asked at every call.

    Raises:
        OSError, ValueError: there are no credentials.
    """

    def __init__(self, open_with: Open, credentials: Callable[[], grpc.ChannelCredentials]) -> None:
        self._open = open_with
        self._credentials = credentials
        self._shown = credentials()
        self._one = _One(open_with(self._shown))
        self._next: _One | None = None
        self._all = {self._one}
        self._closing = set[asyncio.Task[None]]()

    def current(self) -> _One:
        """The one over which the next call goes."""
        latest = self._credentials()
        if latest is not self._shown:
            self._shown = latest
            if self._next is not None:
                self._leave(self._next)
            self._next = _One(self._open(latest))
            self._all.add(self._next)
            self._next.channel.get_state(try_to_connect=True)
        # Nobody waits for a connection while another one stands.
        if self._next is not None and (
            self._next.channel.get_state() is _READY or self._one.channel.get_state() is not _READY
        ):
            before, self._one, self._next = self._one, self._next, None
            self._leave(before)
        return self._one

    def _leave(self, one: _One) -> None:
        """Closes a channel once the calls over it have ended. Servers end each connection, and so all calls, by age."""
        one.left = True
        if not one.calls and one in self._all:
            self._all.remove(one)
            task = asyncio.ensure_future(one.channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def begun(self, one: _One, call: Any) -> None:
        """Counts a call until it has ended."""
        one.calls += 1

        def ended(_: Any) -> None:
            one.calls -= 1
            if one.left:
                self._leave(one)

        call.add_done_callback(ended)

    def unary_unary(self, *given: Any, **more: Any) -> Any:
        """Calls with one request and one answer."""
        return _Calls(self, "unary_unary", given, more)

    def unary_stream(self, *given: Any, **more: Any) -> Any:
        """Calls with one request."""
        return _Calls(self, "unary_stream", given, more)

    def stream_unary(self, *given: Any, **more: Any) -> Any:
        """Calls with one answer."""
        return _Calls(self, "stream_unary", given, more)

    def stream_stream(self, *given: Any, **more: Any) -> Any:
        """Calls with many of both."""
        return _Calls(self, "stream_stream", given, more)

    async def close(self, grace: float | None = None) -> None:
        """Closes all of them."""
        channels = [one.channel for one in self._all]
        self._all.clear()
        await asyncio.gather(*(channel.close(grace) for channel in channels), *self._closing)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """How the connection over which the next call goes stands."""
        return self.current().channel.get_state(try_to_connect=try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until it stands differently."""
        await self.current().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until it stands."""
        await self.current().channel.channel_ready()

    async def __aenter__(self) -> Self:
        """As it is."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        await self.close(None)


class _Calls:
    """Calls of one method, over whichever channel is the current one."""

    __slots__ = ("_calls", "_given", "_kind", "_more", "_of", "_owner")

    def __init__(self, owner: RenewedChannel, kind: str, given: tuple[Any, ...], more: dict[str, Any]) -> None:
        self._owner, self._kind, self._given, self._more = owner, kind, given, more
        self._of: aio.Channel | None = None
        self._calls: Any = None

    def __call__(self, *given: Any, **more: Any) -> Any:
        """A call."""
        one = self._owner.current()
        if one.channel is not self._of:
            self._of, self._calls = one.channel, getattr(one.channel, self._kind)(*self._given, **self._more)
        call = self._calls(*given, **more)
        self._owner.begun(one, call)
        return call
