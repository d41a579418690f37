"""What both clients share: requests, metadata, errors, and when a call is tried again."""

import contextlib
import functools
import math
import operator
import random
from collections.abc import Callable
from typing import Any, Final

import grpc

from crossfade import forks, metadata
from crossfade.answers import NothingAnswersError, NoTlsConnectionError, PredictError
from crossfade.channels import AnyChannels
from crossfade.connection import USER_KEY, TlsFiles, checked_address, local_user
from crossfade.errors import ErrorDetails, details_of
from crossfade.input_types import Asked, InputTypes, advice
from crossfade.proxies import proxy_hint
from crossfade.shown_files import ShownFiles
from crossfade.tls_faults import tls_fault

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that a call may take."""
_PAUSE_SECONDS: Final = (0.05, 0.2)
_LONGEST_SECONDS: Final = 366 * 86_400.0
"""An end that is further away overflows gRPC's clock, and is over at once."""


class Caller:
    """One client, whether its calls block or are awaited."""

    _channels: AnyChannels

    def __init__(self, address: str, tls: TlsFiles | None, timeout: float, user: str) -> None:
        self._address = checked_address(address, "localhost:8500")
        # Read now, so that what is wrong with a file is said where the client is made; and a server may have given up
        # the right to read them when it makes its first call: then this is what it shows.
        self._tls = None if tls is None else ShownFiles(tls)
        self._timeout = _checked(timeout)
        if self._timeout <= 0:
            raise ValueError(f"timeout {timeout:g} leaves no call any time: write seconds, as 2.5, or math.inf for any")
        self._types = InputTypes()
        self._user = () if tls else ((USER_KEY, user or local_user()),)
        self._made_with: dict[str, Any] = {"tls": tls, "timeout": timeout, "user": user}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, as for a process that multiprocessing spawns, it is a client of its own of the same Router there.

        The TLS files are read there anew, so that no key is in the pickle.

        Raises:
            ClientClosedError: the client was closed.
        """
        self._channels.require_open()
        return functools.partial(type(self), **self._made_with), (self._address,)

    def _seconds(self, timeout: float | None) -> float:
        """How long a call may take.

        Raises:
            PredictError: it is none, as what is left of a time that is over may be.
            TypeError: what was said is no number.
            ValueError: it is NaN.
        """
        seconds = self._timeout if timeout is None else _checked(timeout)
        if seconds <= 0:
            said = f"nothing was asked, for the call's timeout of {seconds:g} s leaves no time for an answer"
            raise PredictError(grpc.StatusCode.DEADLINE_EXCEEDED, "", said)
        return seconds

    def _metadata(self, model: str, key: str | int, segment: str, version: str) -> tuple[tuple[str, str], ...]:
        key = _key_text(key)
        said = {metadata.MODEL: model, metadata.KEY: key, metadata.SEGMENT: segment, metadata.VERSION: version}
        for name, value in said.items():
            if not isinstance(value, str):
                raise TypeError(f"{name.removeprefix('x-crossfade-')} {value!r} is no text: leave it out for none")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"{name.removeprefix('x-crossfade-')} {value!r} has characters beyond printable ASCII, which "
                    "metadata cannot carry: send a hash or an encoding of it"
                )
        trace: dict[str, str] = {}
        if inject := _inject():
            inject(trace)
        return (*((name, value) for name, value in said.items() if value), *self._user, *trace.items())

    def _error(self, error: grpc.RpcError) -> PredictError:
        details = details_of(error)
        if self._silent(error):
            fault = tls_fault(details.message, self._address)
            if fault:
                return NoTlsConnectionError(details.code, "", fault)
            hint = proxy_hint(self._address) or "Is `crossfade up` running, and is this the Router's address?"
            said = f"nothing answers at {self._address}. {hint} ({details.message})"
            return NothingAnswersError(details.code, "", said)
        said = self._advice(details) or details.message
        if do := advice(details.reason, details.metadata):
            said = f"{said}: {do}"
        return PredictError(details.code, details.reason, said, details.retry_seconds, details.metadata)

    def _advice(self, details: ErrorDetails) -> str:
        """What grpc's own words mean; empty: they are the service's, or say it themselves."""
        if details.reason:
            return ""
        if details.code is grpc.StatusCode.UNIMPLEMENTED:
            return (
                f"what answers at {self._address} is no Router of Crossfade, or one of another release "
                f"({details.message})"
            )
        if details.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return (
                f"no answer came from {self._address} within the call's timeout. Is it overloaded, or out of reach? "
                f"({details.message})"
            )
        return ""

    @staticmethod
    def _silent(error: grpc.RpcError) -> bool:
        """Whether nothing answered.

        A server that ends lets grpc say CANCELLED of what it has taken and not begun.
        """
        details = details_of(error)
        return details.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) and not details.reason

    def _broken(self, error: grpc.RpcError, parts: int) -> PredictError:
        """The error of a stream of which so many parts have come."""
        details = details_of(error)
        gone = details.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) and not details.reason
        if not parts or not gone:
            return self._error(error)
        return PredictError(
            details.code,
            "STREAM_BROKEN",
            f"the answer broke off after {parts} parts, for the process that gave it is gone; ask again",
        )

    def _before_next(
        self, asked: Asked, first: grpc.RpcError | None, error: grpc.RpcError, parts: int
    ) -> grpc.RpcError | None:
        """The error after which a stream is tried again; None: there is none, the request was corrected.

        Args:
            asked: the request.
            first: that of the try before; None: this was the first one.
            error: how this one ended.
            parts: how many parts it had.

        Raises:
            ClientClosedError: the client was closed.
            PredictError: it is not tried again.
        """
        self._channels.require_open()
        details = details_of(error)
        if not parts and asked.corrected(details.reason, details.metadata):
            return first
        if parts:
            raise self._broken(error, parts) from error
        return self._tried(first, error)

    def _tried(self, first: grpc.RpcError | None, error: grpc.RpcError) -> grpc.RpcError:
        """The error after which a call is tried again; what the Router has seen, the Router retries.

        Where nothing has answered, once. Where the Router has no routes, as long as there is time: another one under
        the same name may have some, and this one too, in a moment.

        Args:
            first: that of the try before; None: this was the first one.
            error: how this one ended.

        Raises:
            PredictError: it is not tried again.
        """
        if _unrouted(error) or (self._silent(error) and (first is None or _unrouted(first))):
            return error
        raise (self._error(error) if first is None else self._second(first, error)) from error

    def _second(self, first: grpc.RpcError, second: grpc.RpcError) -> PredictError:
        """The error of a call that was tried again: waiting in vain for a connection is no timeout of the model's.

        A call that was cancelled had been taken: by a Router that ends, or whose own clock of the call's deadline was
        faster than the caller's.
        """
        waited = details_of(second).code is grpc.StatusCode.DEADLINE_EXCEEDED
        unheard = details_of(first).code is grpc.StatusCode.UNAVAILABLE
        return self._error(first if waited and unheard else second)


def _unrouted(error: grpc.RpcError) -> bool:
    """Whether a Router that does not know its routes has answered."""
    return details_of(error).reason == "ROUTES_UNKNOWN"


def pause() -> float:
    """Seconds before the next attempt: a Router that is overloaded or starts needs a moment."""
    return random.uniform(*_PAUSE_SECONDS)  # noqa: S311 - spreads the callers


def _checked(timeout: float) -> float:
    """Seconds that gRPC takes for what they are."""
    try:
        nan = math.isnan(timeout)
    except TypeError as error:
        raise TypeError(f"timeout {timeout!r} is no number: write seconds, as 2.5, or math.inf for any") from error
    if nan:
        raise ValueError("timeout is NaN: write seconds, as 2.5, or math.inf for any")
    return min(timeout, _LONGEST_SECONDS)


def _key_text(key: str | int) -> str:
    """A key as metadata carries it: users are often numbered, also by numpy's integers. True is nobody's number."""
    if isinstance(key, str):
        return key
    if not isinstance(key, bool):
        with contextlib.suppress(TypeError):
            return str(operator.index(key))
    raise TypeError(f"key {key!r} is neither a text nor a whole number: leave it out for none")


@functools.cache
def _inject() -> Callable[[dict[str, str]], None] | None:
    """What writes the current span's W3C trace context, where OpenTelemetry is installed."""
    # A child that is forked amid an import waits for its lock for ever.
    with forks.calling(), contextlib.suppress(ImportError):
        from opentelemetry import propagate

        return propagate.inject
    return None
