"""Connections of the command line to the services."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

import grpc

from crossfade.cli.common import Options, address
from crossfade.cli.errors import CommandError, UsageError, command_error
from crossfade.cli.repeating import Repeat, given_up, interrupted, no_answer, pauses, said_before, was_sent
from crossfade.connection import EACH_IN_TURN, USER_KEY, TlsFiles, local_user, open_channel

TIMEOUT: Final = 10.0
"""Seconds that a call may take."""
_LONGEST_TIMEOUTS: Final = 2.0
"""After so many of a service's timeouts no further attempt is made."""

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
        repeat: what a command that is said again said before.
        patient: a call that gets no answer is made again.
    """

    def __init__(
        self,
        name: str,
        target: str,
        channel: grpc.Channel,
        metadata: Metadata,
        timeout: float = TIMEOUT,
        repeat: Repeat | None = None,
        *,
        patient: bool = True,
    ) -> None:
        self.name = name
        self.address = target
        self.channel = channel
        self._metadata = metadata
        self._timeout = timeout
        self.repeat = repeat or Repeat()
        self._patient = patient

    def call(self, method: Callable[..., _Answer], request: object, timeout: float | None = None) -> _Answer:
        """Calls a unary RPC, and again when no answer comes: it reads, or it has a request_id and is done once.

        Args:
            method: the stub's.
            request: its message.
            timeout: seconds that one attempt may take; None: the service's.

        Raises:
            CommandError: it failed; the message says what to do, and how a change is asked for again that may have
                been made.
        """
        self.repeat.fill(request)
        try:
            return self._attempt(method, request, timeout or self._timeout)
        except KeyboardInterrupt:
            raise interrupted(request) from None

    def _attempt(self, method: Callable[..., _Answer], request: object, timeout: float) -> _Answer:
        until = time.monotonic() + _LONGEST_TIMEOUTS * self._timeout
        # What is said again may have been carried out the first time.
        pausing, sent = pauses(), bool(self.repeat.request_id)
        while True:
            try:
                return method(request, timeout=timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                failure = command_error(error, self.address, self.name)
                failure.facts = replace(failure.facts, request_id=said_before(request))
                if not no_answer(error):
                    raise failure from error
                sent = sent or was_sent(error)
                pause = next(pausing, None) if self._patient else None
                if pause is None or time.monotonic() + pause >= until:
                    raise given_up(failure, request, sent=sent) from error
                time.sleep(pause)


class Connections:
    """Opens each channel once, when it is needed.

    Args:
        options: addresses and the user's name.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._channels: dict[str, grpc.Channel] = {}
        self._repeat = Repeat.parse(options.request_id)
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

    def service(self, name: str, target: str, timeout: float = TIMEOUT, *, patient: bool = True) -> Service:
        """Any service, by its address."""
        channel = self._channel(target)
        return Service(name, target, channel, self.metadata(), timeout, self._repeat, patient=patient)

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
                channel = self._channels[target] = open_channel(target, self.tls, EACH_IN_TURN)
            except OSError as error:
                raise _no_tls(f"{error.filename} cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise _no_tls(str(error)) from error
        return channel

    def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            channel.close()


def _no_tls(why: str) -> CommandError:
    return CommandError(
        f"the TLS files cannot be used: {why}. See CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY and CROSSFADE_TLS_CA; "
        "`crossfade certs dev` makes a set"
    )


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
