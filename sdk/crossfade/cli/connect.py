"""Connections of the command line to the services."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import grpc

from crossfade.cli.context import Options, address
from crossfade.cli.errors import CommandError, UsageError, command_error
from crossfade.connection import USER_KEY, TlsFiles, local_user, open_channel

TIMEOUT: Final = 10.0
"""Seconds that a call may take."""

_Answer = TypeVar("_Answer")

Metadata = tuple[tuple[str, str], ...]


class Service:
    """One service at one address.

    Args:
        name: "registry", "router" or "evaluator".
        target: host:port.
        channel: to there.
        metadata: what every call says.
        timeout: seconds that a call may take.
    """

    def __init__(
        self, name: str, target: str, channel: grpc.Channel, metadata: Metadata, timeout: float = TIMEOUT
    ) -> None:
        self.name = name
        self.address = target
        self.channel = channel
        self._metadata = metadata
        self._timeout = timeout

    def call(self, method: Callable[..., _Answer], request: object, timeout: float | None = None) -> _Answer:
        """Calls a unary RPC.

        Raises:
            CommandError: it failed; the message says what to do.
        """
        try:
            return method(request, timeout=timeout or self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise command_error(error, self.address, self.name) from error


class Connections:
    """Opens each channel once, when it is needed.

    Args:
        options: addresses and the user's name.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channels: dict[str, grpc.Channel] = {}
        try:
            self.tls = TlsFiles.from_environment()
        except ValueError as error:
            raise UsageError(str(error)) from error

    def registry(self) -> Service:
        """The Registry."""
        return self.service("registry", address(self._options.registry, "registry"))

    def router(self) -> Service:
        """The Router."""
        return self.service("router", address(self._options.router, "router"))

    def evaluator(self) -> Service:
        """The Evaluator."""
        return self.service("evaluator", address(self._options.evaluator, "evaluator"))

    def service(self, name: str, target: str, timeout: float = TIMEOUT) -> Service:
        """Any service, by its address."""
        return Service(name, target, self._channel(target), self.metadata(), timeout)

    def metadata(self) -> Metadata:
        """What every call says: the user's name in a local trial, nothing where a certificate says it.

        Raises:
            UsageError: the name cannot be sent.
        """
        if self.tls is not None:
            return ()
        user = self._options.user or local_user()
        if not (user.isascii() and user.isprintable()):
            raise UsageError(f"the user name {user!r} has characters beyond ASCII; --user NAME sets another")
        return ((USER_KEY, user),)

    def _channel(self, target: str) -> grpc.Channel:
        channel = self._channels.get(target)
        if channel is None:
            try:
                channel = self._channels[target] = open_channel(target, self.tls)
            except (OSError, ValueError) as error:
                raise CommandError(
                    f"the TLS files cannot be used: {error}. See CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY and "
                    "CROSSFADE_TLS_CA; `crossfade certs dev` makes a set"
                ) from error
        return channel

    def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            channel.close()


def pages(fetch: Callable[[str], tuple[list[_Answer], str]], limit: int | None = None) -> Iterator[_Answer]:
    """Items of all pages, at most `limit`.

    Args:
        fetch: from a page token to the page's items and the next token.
        limit: None: all.
    """
    token, seen = "", 0
    while True:
        items, token = fetch(token)
        for item in items:
            if limit is not None and seen >= limit:
                return
            seen += 1
            yield item
        if not token or (limit is not None and seen >= limit):
            return
