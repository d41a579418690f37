"""The clients' channels: opened by the first call in a process, and of asyncio in a loop, and closed once for all."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from crossfade import forks
from crossfade.answers import ClientClosedError
from crossfade.connection import TlsContents, open_aio_channel, open_channel
from crossfade.describing import model_metadata
from crossfade.predict.v1 import predict_pb2_grpc


class Opened:
    """A channel of this process.

    Attributes:
        channel: it.
        stub: its methods of prediction.
        describe: its method that says what a model is.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        # The stub's type depends on the channel's, which mypy-protobuf sees at its construction alone.
        self.stub: Any = predict_pb2_grpc.PredictionServiceStub(channel)
        self.describe = model_metadata(channel)
        self._fork = forks.count()
        forks.opened(channel)

    @property
    def ours(self) -> bool:
        """Whether this process has opened it, and not one that it was forked from."""
        return self._fork == forks.count()


class AnyChannels:
    """What both kinds share.

    Args:
        address: host:port.
        tls: what the files hold.
    """

    def __init__(self, address: str, tls: TlsContents | None) -> None:
        self.address = address
        self._tls = tls
        self._closed = False

    def require_open(self) -> None:
        """Before each attempt: the two kinds of channel have different errors, and gRPC's words.

        Raises:
            ClientClosedError: the client was closed.
        """
        if self._closed:
            raise ClientClosedError


class Channels(AnyChannels):
    """One channel in each process, for all of its threads."""

    def __init__(self, address: str, tls: TlsContents | None) -> None:
        super().__init__(address, tls)
        self._opened: Opened | None = None

    def get(self) -> Opened:
        """The channel of this process.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: gRPC does not work in this process.
        """
        self.require_open()
        opened = self._opened
        return opened if opened is not None and opened.ours else self._open()

    def _open(self) -> Opened:
        with forks.calling(), forks.opening():
            self.require_open()
            # Another thread may have been first.
            opened = self._opened
            if opened is None or not opened.ours:
                forks.require_grpc()
                opened = self._opened = Opened(open_channel(self.address, self._tls))
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
        if opened is not None and opened.ours:
            forks.closed(opened.channel)
            opened.channel.close()


class LoopChannels(AnyChannels):
    """One channel in each loop of each process: gRPC's calls belong to the loop that their channel was opened in."""

    def __init__(self, address: str, tls: TlsContents | None) -> None:
        super().__init__(address, tls)
        self._opened: dict[asyncio.AbstractEventLoop, Opened] = {}

    def get(self) -> Opened:
        """The channel of the running loop.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: gRPC does not work in this process.
        """
        self.require_open()
        loop = asyncio.get_running_loop()
        opened = self._opened.get(loop)
        return opened if opened is not None and opened.ours else self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> Opened:
        with forks.calling(), forks.opening():
            self.require_open()
            forks.require_grpc(aio=True)
            for other in [one for one in self._opened if one.is_closed()]:
                # It ends with what refers to it.
                forks.closed(self._opened.pop(other).channel)
            opened = self._opened[loop] = Opened(open_aio_channel(self.address, self._tls))
            return opened

    async def close(self) -> None:
        """Ends all calls of this process, those of other loops in these."""
        with forks.opening():
            self._closed = True
            opened, self._opened = self._opened, {}
        for loop, one in opened.items():
            if one.ours:
                forks.closed(one.channel)
                if loop is asyncio.get_running_loop():
                    await one.channel.close()
                elif loop.is_running():
                    asyncio.run_coroutine_threadsafe(one.channel.close(), loop)
