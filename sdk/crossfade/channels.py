"""The clients' channels: opened by the first call in a process, and of asyncio in a loop, and closed once for all.

A channel shows one certificate for as long as it is. Where the TLS files are exchanged there is a new one for the calls
that begin then, and the one before is closed when its last call must have ended.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from crossfade import forks
from crossfade.answers import ClientClosedError
from crossfade.connection import EACH_IN_TURN, TlsContents, open_aio_channel, open_channel
from crossfade.describing import model_metadata
from crossfade.predict.v1 import predict_pb2_grpc
from crossfade.shown_files import ShownFiles

_LEFT_SECONDS: Final = 10.0
"""A channel that takes no new calls is kept for as long at least: who was just given it may be about to call."""


class Opened:
    """A channel of this process.

    Attributes:
        channel: it.
        shows: of TLS files; None: there are none.
        stub: its methods of prediction.
        describe: its method that says what a model is.
    """

    def __init__(self, channel: Any, shows: TlsContents | None, steady: Callable[[], float]) -> None:
        self.channel = channel
        self.shows = shows
        # The stub's type depends on the channel's, which mypy-protobuf sees at its construction alone.
        self.stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        self.describe = model_metadata(channel)
        self._steady = steady
        self._until = 0.0
        self._lock = threading.Lock()
        self._fork = forks.count()
        forks.opened(channel)

    @property
    def ours(self) -> bool:
        """Whether this process has opened it, and not one that it was forked from."""
        return self._fork == forks.count()

    def used(self, seconds: float) -> "Opened":
        """Notes that a call, or what is tried again of it, may last for so long."""
        # Of channels without files none is ever left.
        if self.shows is not None:
            with self._lock:
                self._until = max(self._until, self._steady() + seconds)
        return self

    def leave(self) -> "Opened":
        """Notes that it is given to nobody any more."""
        return self.used(_LEFT_SECONDS)

    @property
    def over(self) -> bool:
        """Whether its last call must have ended."""
        return self._steady() > self._until


class AnyChannels:
    """What both kinds share.

    Args:
        address: host:port.
        tls: what is shown; None: nothing.
        steady: seconds that never run backwards.
    """

    def __init__(self, address: str, tls: ShownFiles | None, steady: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._tls = tls
        self._steady = steady
        self._closed = False

    def require_open(self) -> None:
        """Before each attempt: the two kinds of channel have different errors, and gRPC's words.

        Raises:
            ClientClosedError: the client was closed.
        """
        if self._closed:
            raise ClientClosedError

    def _is_latest(self, opened: Opened) -> bool:
        """Whether it shows what the files held at a look that is not over."""
        return self._tls is None or (opened.shows is self._tls.contents and not self._tls.due)

    def _shown(self) -> TlsContents | None:
        return None if self._tls is None else self._tls.latest()


class Channels(AnyChannels):
    """One channel in each process, for all of its threads."""

    def __init__(self, address: str, tls: ShownFiles | None, steady: Callable[[], float] = time.monotonic) -> None:
        super().__init__(address, tls, steady)
        self._opened: Opened | None = None
        self._left: list[Opened] = []

    def get(self, seconds: float) -> Opened:
        """The channel of this process, for a call that lasts no longer.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: gRPC does not work in this process.
        """
        self.require_open()
        opened = self._opened
        if opened is None or not opened.ours or not self._is_latest(opened):
            opened = self._open()
        return opened.used(seconds)

    def _open(self) -> Opened:
        with forks.calling(), forks.opening():
            self.require_open()
            shown = self._shown()
            # Another thread may have been first.
            opened = self._opened
            if opened is None or not opened.ours or opened.shows is not shown:
                forks.require_grpc()
                if opened is not None and opened.ours:
                    self._left.append(opened.leave())
                opened = self._opened = Opened(open_channel(self.address, shown, EACH_IN_TURN), shown, self._steady)
            over = [one for one in self._left if one.over or not one.ours]
            self._left = [one for one in self._left if one not in over]
        _close(over)
        return opened

    @contextmanager
    def calling(self) -> Generator[None, None, None]:
        """Around a call: a channel that was closed just before has its own words for it.

        Raises:
            ClientClosedError: the client was closed.
        """
        try:
            with forks.calling():
                yield
        except ValueError:
            self.require_open()
            raise

    def close(self) -> None:
        """Ends all calls of this process; what a parent has opened stays its own."""
        with forks.opening():
            self._closed = True
            opened, self._opened = self._opened, None
            left, self._left = self._left, []
        _close([*left, *([opened] if opened is not None else ())])


def _close(channels: list[Opened]) -> None:
    for one in channels:
        if one.ours:
            forks.closed(one.channel)
            one.channel.close()


class LoopChannels(AnyChannels):
    """One channel in each loop of each process: gRPC's calls belong to the loop that their channel was opened in."""

    def __init__(self, address: str, tls: ShownFiles | None, steady: Callable[[], float] = time.monotonic) -> None:
        super().__init__(address, tls, steady)
        self._opened: dict[asyncio.AbstractEventLoop, Opened] = {}
        self._left: list[tuple[asyncio.AbstractEventLoop, Opened]] = []
        self._closing: set[asyncio.Task[None]] = set()

    def get(self, seconds: float) -> Opened:
        """The channel of the running loop, for a call that lasts no longer.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: gRPC does not work in this process.
        """
        self.require_open()
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        if opened is None or not opened.ours or not self._is_latest(opened):
            opened = self._open(loop)
        return opened.used(seconds)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Opened:
        with forks.calling(), forks.opening():
            self.require_open()
            for other in [one for one in self._opened if one.is_closed()]:
                # It ends with what refers to it.
                forks.closed(self._opened.pop(other).channel)
            shown = self._shown()
            opened = self._opened.get(loop)
            if opened is None or not opened.ours or opened.shows is not shown:
                forks.require_grpc(aio=True)
                if opened is not None and opened.ours:
                    self._left.append((loop, opened.leave()))
                channel = open_aio_channel(self.address, shown, EACH_IN_TURN)
                opened = self._opened[loop] = Opened(channel, shown, self._steady)
            self._close_left(loop)
            return opened

    def _close_left(self, loop: asyncio.AbstractEventLoop) -> None:
        """Closes those of this loop that are over; those of loops that have ended went with them."""
        over = [(at, one) for at, one in self._left if at.is_closed() or not one.ours or (at is loop and one.over)]
        self._left = [left for left in self._left if left not in over]
        for at, one in over:
            forks.closed(one.channel)
            if at is loop and one.ours:
                task = loop.create_task(one.channel.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends all calls of this process, those of other loops in these."""
        with forks.opening():
            self._closed = True
            opened, self._opened = self._opened, {}
            left, self._left = self._left, []
        for loop, one in [*left, *opened.items()]:
            if one.ours:
                forks.closed(one.channel)
                if loop is asyncio.get_running_loop():
                    await one.channel.close()
                elif loop.is_running():
                    asyncio.run_coroutine_threadsafe(one.channel.close(), loop)
