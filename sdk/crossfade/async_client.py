"""Predict and Feedback for backend services that use asyncio; see `crossfade.client`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from crossfade.answers import Answer, PredictError, answer_of
from crossfade.calling import DEFAULT_TIMEOUT, Caller, pause
from crossfade.channels import LoopChannels
from crossfade.codec import Array
from crossfade.connection import TlsFiles
from crossfade.input_types import Asked, Inputs, require_texts
from crossfade.observing import FeedbackSummary, batches, observations_of, summarize
from crossfade.predict.v1 import predict_pb2


class AsyncClient(Caller):
    """`crossfade.client.Client` for asyncio. Loops may share it, as those of several threads; each has a channel.

    Args:
        address: host:port.
        tls: files of mutual TLS. Default: those that the environment names, if any.
        timeout: seconds that a call may take unless it says otherwise; math.inf: any.
        user: the caller's name in a local trial; with TLS the certificate says it. Default: the login name.

    Raises:
        OSError: a TLS file cannot be read.
        TypeError: the timeout is no number.
        ValueError: the address is none, the timeout no time, or a TLS file not what it is to be.
    """

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, timeout: float = DEFAULT_TIMEOUT, user: str = ""
    ) -> None:
        super().__init__(address, tls or TlsFiles.from_environment(), timeout, user)
        self._channels: LoopChannels = LoopChannels(self._address, self._tls)

    async def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        key: str | int = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Runs a model; see `Client.predict`.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why.
            TypeError: a name is no text, or the key neither a text nor a whole number.
            ValueError: a name or key is not printable ASCII.
        """
        asked = Asked(self._types, model, inputs, request_id=request_id)
        said = self._metadata(model, key, segment, version)
        end = time.monotonic() + self._seconds(timeout)
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                return answer_of(await self._ask(self._channels.get(left).stub.Predict, asked.message, left, said))
            except PredictError as error:
                if not asked.corrected(error.reason, error.metadata):
                    raise

    def predict_stream(
        self,
        model: str,
        inputs: Inputs,
        *,
        max_parts: int | None = None,
        key: str | int = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Runs a model that answers in parts; see `Client.predict_stream`. Leave the iterator with `aclose`, at once.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why.
            TypeError: a name is no text, or the key neither a text nor a whole number.
            ValueError: a name or key is not printable ASCII.
        """
        asked = Asked(self._types, model, inputs, request_id=request_id, max_parts=max_parts)
        said = self._metadata(model, key, segment, version)
        return self._parts(asked, said, self._seconds(timeout))

    async def _parts(self, asked: Asked, said: Any, seconds: float) -> AsyncGenerator[Answer, None]:
        end = time.monotonic() + seconds
        parts = 0
        first: grpc.RpcError | None = None
        while True:
            left = max(0.0, end - time.monotonic())
            method = self._channels.get(left).stub.PredictStream
            call = method(asked.message, timeout=left, metadata=said, wait_for_ready=first is not None)
            try:
                async for response in call:
                    parts += 1
                    yield answer_of(response)
                return
            except asyncio.CancelledError:
                self._require_cancelled()
                raise
            except grpc.aio.AioRpcError as error:
                first = self._before_next(asked, first, error, parts)
            finally:
                # grpc.aio never collects an abandoned call.
                call.cancel()
            await asyncio.sleep(min(pause(), max(0.0, end - time.monotonic())))

    async def feedback(
        self,
        answer: Answer | str,
        observed: float | Sequence[Any] | Array,
        *,
        rows: int | Sequence[int] | Array | None = None,
    ) -> FeedbackSummary:
        """Reports what turned out to be true; see `Client.feedback`.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed.
            TypeError: an entry is neither a text nor a number, or the answer neither an answer nor an id.
            ValueError: there is no prediction id, or there are more entries than rows, or one for several rows, or
                entries for rows beyond the 64th or other than there are.
        """
        return await self.report(observations_of(answer, observed, rows))

    async def classes(self, model: str, *, version: str = "", segment: str = "") -> tuple[str, ...]:
        """The names of a model's classes; see `Client.classes`.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why.
            TypeError: a name is no text.
            ValueError: a name is not printable ASCII.
        """
        require_texts(model=model, version=version)
        said = self._metadata(model, "", segment, "")
        request = predict_pb2.ModelMetadataRequest(name=model, version=version)
        answer = await self._ask(self._channels.get(self._timeout).describe, request, self._timeout, said)
        return tuple(answer.classes)

    async def report(self, observations: Iterable[predict_pb2.Observation]) -> FeedbackSummary:
        """Reports observations of any predictions; see `Client.report`.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: a call failed; observations of the calls before it are counted.
        """
        said = list(observations)
        results: list[predict_pb2.ObservationResult] = []
        for request in batches(said):
            answer = await self._ask(
                self._channels.get(self._timeout).stub.Feedback, request, self._timeout, self._user
            )
            results.extend(answer.results)
        return summarize(said, results)

    async def _ask(self, method: Any, request: Any, seconds: float, said: Any) -> Any:
        """What is answered, by another attempt where nothing, or a Router without routes, has answered the first."""
        end = time.monotonic() + seconds
        first: grpc.RpcError | None = None
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                return await self._call(method, request, left, said, wait=first is not None)
            except grpc.aio.AioRpcError as error:
                first = self._tried(first, error)
            await asyncio.sleep(min(pause(), max(0.0, end - time.monotonic())))

    async def _call(self, method: Any, request: Any, seconds: float, said: Any, *, wait: bool) -> Any:
        self._channels.require_open()
        call = method(request, timeout=seconds, metadata=said, wait_for_ready=wait)
        try:
            return await call
        except asyncio.CancelledError:
            self._require_cancelled()
            raise
        finally:
            # grpc.aio never collects an abandoned call.
            call.cancel()

    def _require_cancelled(self) -> None:
        """grpc.aio says of calls under a channel that is closed that their task was cancelled, which it was not.

        Raises:
            ClientClosedError: the client was closed.
        """
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            self._channels.require_open()

    async def close(self) -> None:
        """Closes the channels of all loops."""
        await self._channels.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
