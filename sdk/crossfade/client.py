"""Predict and Feedback for backend services: numpy in, numpy out.

with Client("localhost:8500") as client:
    answer = client.predict("churn", rows)
    client.feedback(answer, labels)
"""

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import numpy as np

from crossfade import codec, metadata
from crossfade.answers import (
    Answer,
    FeedbackSummary,
    NothingAnswersError,
    PredictError,
    answer_of,
    batches,
    observations_of,
    summarize,
)
from crossfade.codec import Array
from crossfade.connection import USER_KEY, TlsFiles, local_user, open_aio_channel, open_channel
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc

__all__ = ["Answer", "AsyncClient", "Client", "FeedbackSummary", "Inputs", "NothingAnswersError", "PredictError"]

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that a call may take."""
_PAUSE_SECONDS: Final = (0.05, 0.2)

Inputs = Array | Mapping[str, Array]
"""One array, for a model with one input (named "input"), or arrays by input name; the first dimension is the batch."""


class _Caller:
    """What both clients share: requests, metadata, errors."""

    def __init__(self, address: str, tls: TlsFiles | None, timeout: float, user: str) -> None:
        self._address = address
        self._tls = tls
        self._timeout = timeout
        self._user = () if tls else ((USER_KEY, user or local_user()),)

    def _metadata(self, model: str, key: str, segment: str, version: str) -> tuple[tuple[str, str], ...]:
        said = {metadata.MODEL: model, metadata.KEY: key, metadata.SEGMENT: segment, metadata.VERSION: version}
        for name, value in said.items():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"{name.removeprefix('x-crossfade-')} {value!r} has characters beyond printable ASCII, which "
                    "metadata cannot carry: send a hash or an encoding of it"
                )
        return (*((name, value) for name, value in said.items() if value), *self._user, *_trace_metadata())

    def _error(self, error: grpc.RpcError) -> PredictError:
        details = details_of(error)
        if self._silent(error):
            return NothingAnswersError(
                details.code,
                "",
                f"nothing answers at {self._address}. Is `crossfade up` running, and is this the Router's address? "
                f"({details.message})",
            )
        return PredictError(details.code, details.reason, details.message)

    @staticmethod
    def _silent(error: grpc.RpcError) -> bool:
        """Whether nothing answered; only then a call is tried again: what the Router has seen, the Router retries."""
        details = details_of(error)
        return details.code is grpc.StatusCode.UNAVAILABLE and not details.reason

    def _second(self, first: grpc.RpcError, second: grpc.RpcError) -> PredictError:
        """The error of a call that was tried twice: waiting in vain for a connection is no timeout of the model's."""
        waited = details_of(second).code is grpc.StatusCode.DEADLINE_EXCEEDED
        return self._error(first if waited else second)


def _pause() -> float:
    """Seconds before the second attempt: a Router that is overloaded or starts needs a moment."""
    return random.uniform(*_PAUSE_SECONDS)  # noqa: S311 - spreads the callers


def _trace_metadata() -> tuple[tuple[str, str], ...]:
    """The current span's W3C trace context, when the application uses OpenTelemetry."""
    try:
        from opentelemetry import propagate
    except ImportError:
        return ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


def _inputs(inputs: Inputs) -> Mapping[str, Array]:
    return inputs if isinstance(inputs, Mapping) else {"input": np.asarray(inputs)}


class Client(_Caller):
    """Calls models through a Router (or a Worker). Threads may share it.

    Args:
        address: host:port.
        tls: files of mutual TLS. Default: those that the environment names, if any.
        timeout: seconds that a call may take unless it says otherwise.
        user: the caller's name in a local trial; with TLS the certificate says it. Default: the login name.
    """

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, timeout: float = DEFAULT_TIMEOUT, user: str = ""
    ) -> None:
        super().__init__(address, tls or TlsFiles.from_environment(), timeout, user)
        self._channel = open_channel(address, self._tls)
        self._stub = predict_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        key: str = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Runs a model.

        Args:
            model: the model's id.
            inputs: one array, or arrays by input name; the first dimension is the batch.
            key: routing key (user, session): under KEY assignment one key always gets one arm.
            segment: the caller's segment.
            version: a pin: a version, "@stable", "@test" or "@previous"; such calls are left out of the gates.
            request_id: echoed in the answer.
            timeout: seconds; the answer comes within them or not at all.

        Raises:
            PredictError: the call failed; its reason says why.
            ValueError: a name or key is not printable ASCII.
        """
        request = codec.encode_request(model, _inputs(inputs), request_id=request_id)
        said = self._metadata(model, key, segment, version)
        seconds = self._timeout if timeout is None else timeout
        end = time.monotonic() + seconds
        try:
            return answer_of(self._stub.Predict(request, timeout=seconds, metadata=said))
        except grpc.RpcError as error:
            if not self._silent(error):
                raise self._error(error) from error
            first = error
        time.sleep(min(_pause(), max(0.0, end - time.monotonic())))
        left = max(0.0, end - time.monotonic())
        try:
            return answer_of(self._stub.Predict(request, timeout=left, metadata=said, wait_for_ready=True))
        except grpc.RpcError as error:
            raise self._second(first, error) from error

    def feedback(self, answer: Answer, observed: Sequence[Any] | Array) -> FeedbackSummary:
        """Reports what turned out to be true, one entry per row: a class name, a number, or None for nothing.

        A text is a label, also "1"; a number is what a regression should have answered, or of a classification a value
        that `value` gates judge.

        Raises:
            PredictError: the call failed.
            TypeError: an entry is neither a text nor a number.
            ValueError: there are more entries than rows.
        """
        return self.report(observations_of(answer, observed))

    def report(self, observations: Iterable[predict_pb2.Observation]) -> FeedbackSummary:
        """Reports observations of any predictions.

        Raises:
            PredictError: a call failed; observations of the calls before it are counted.
        """
        results: list[predict_pb2.ObservationResult] = []
        try:
            for request in batches(list(observations)):
                answer = self._stub.Feedback(request, timeout=self._timeout, metadata=self._user)
                results.extend(answer.results)
        except grpc.RpcError as error:
            raise self._error(error) from error
        return summarize(results)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Caller):
    """The same for asyncio.

    Args:
        address: host:port.
        tls: files of mutual TLS. Default: those that the environment names, if any.
        timeout: seconds that a call may take unless it says otherwise.
        user: the caller's name in a local trial; with TLS the certificate says it. Default: the login name.
    """

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, timeout: float = DEFAULT_TIMEOUT, user: str = ""
    ) -> None:
        super().__init__(address, tls or TlsFiles.from_environment(), timeout, user)
        self._channel = open_aio_channel(address, self._tls)
        # The stub's type depends on the channel's, which mypy-protobuf sees at its construction alone.
        self._stub: Any = predict_pb2_grpc.PredictionServiceStub(self._channel)

    async def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        key: str = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Runs a model; see `Client.predict`.

        Raises:
            PredictError: the call failed; its reason says why.
            ValueError: a name or key is not printable ASCII.
        """
        request = codec.encode_request(model, _inputs(inputs), request_id=request_id)
        said = self._metadata(model, key, segment, version)
        seconds = self._timeout if timeout is None else timeout
        end = time.monotonic() + seconds
        try:
            return answer_of(await self._call(self._stub.Predict, request, seconds, said, wait=False))
        except grpc.aio.AioRpcError as error:
            if not self._silent(error):
                raise self._error(error) from error
            first = error
        await asyncio.sleep(min(_pause(), max(0.0, end - time.monotonic())))
        left = max(0.0, end - time.monotonic())
        try:
            return answer_of(await self._call(self._stub.Predict, request, left, said, wait=True))
        except grpc.aio.AioRpcError as error:
            raise self._second(first, error) from error

    async def feedback(self, answer: Answer, observed: Sequence[Any] | Array) -> FeedbackSummary:
        """Reports what turned out to be true; see `Client.feedback`.

        Raises:
            PredictError: the call failed.
            TypeError: an entry is neither a text nor a number.
            ValueError: there are more entries than rows.
        """
        return await self.report(observations_of(answer, observed))

    async def report(self, observations: Iterable[predict_pb2.Observation]) -> FeedbackSummary:
        """Reports observations of any predictions; see `Client.report`.

        Raises:
            PredictError: a call failed; observations of the calls before it are counted.
        """
        results: list[predict_pb2.ObservationResult] = []
        try:
            for request in batches(list(observations)):
                answer = await self._call(self._stub.Feedback, request, self._timeout, self._user, wait=False)
                results.extend(answer.results)
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error
        return summarize(results)

    @staticmethod
    async def _call(method: Any, request: Any, seconds: float, said: Any, *, wait: bool) -> Any:
        call = method(request, timeout=seconds, metadata=said, wait_for_ready=wait)
        try:
            return await call
        finally:
            # grpc.aio never collects an abandoned call.
            call.cancel()

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
