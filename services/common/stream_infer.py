"""ModelStreamInfer, the Open Inference Protocol's streaming method as Triton has it, over PredictStream's parts.

Source: Triton Inference Server, grpc_service.proto, `ModelStreamInfer`, and decoupled_models.md: requests come on one
stream, are worked on at once, and are each answered by any number of responses, which say by `id` whose they are; a
failure is a response with `error_message`, and the stream goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final

import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade.metadata import FINAL_RESPONSE
from crossfade.predict.v1 import predict_pb2
from services.common.errors import UnavailableError
from services.common.guard import in_domain
from services.common.statuses import code_of, message_of
from services.common.varint import read_varint, varint

AT_ONCE: Final = 64
"""Requests of one stream that are under way at once: one caller can fill the largest batch that a Worker makes by
default, and has no more than that in a queue which is everybody's."""

METHOD: Final = "/inference.GRPCInferenceService/ModelStreamInfer"

Write = Callable[[bytes], Awaitable[None]]
Answer = Callable[[bytes, Write], Awaitable[str]]
"""Writes the parts of one serialized request's answer; answers what went wrong, or nothing."""

_INFER_RESPONSE: Final = b"\x12"
"""The tag of field 2, length-delimited."""
_HEAD: Final = frozenset(b"\x0a\x12\x1a\x22")
"""Tags of a request's fields 1 to 4, all length-delimited: model, version, id, parameters."""
_MOST_FIELDS: Final = 256
"""Of a head, whose parameters are a field each: millions of empty ones would hold every other stream for seconds."""
_SEQUENCE: Final = "sequence_id"
_MOST_SHOWN: Final = 64


class StreamInfer:
    """The streams of one server.

    Args:
        log: gets what nobody expected.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self._log = log
        self._streams: set[_Stream] = set()
        self._closed = False

    async def serve(
        self, requests: AsyncIterator[bytes], context: "aio.ServicerContext[Any, Any]", answer: Answer
    ) -> None:
        """Answers the requests of a stream, `AT_ONCE` at a time; at that many it reads no further.

        Answers of requests with the same id, or without one, could not be told apart, and a sequence has an order:
        those follow one another as their requests do. All others come as they are ready. The parts of one are in order.

        Args:
            requests: serialized.
            context: of the stream.
            answer: answers one of them.

        Raises:
            UnavailableError: DRAINING; a client that begins anew reaches another process.
        """
        if self._closed:
            raise _draining()
        stream = _Stream(context, answer, self._log)
        self._streams.add(stream)
        try:
            await stream.run(requests)
        finally:
            self._streams.discard(stream)

    def close(self) -> None:
        """Takes no more requests: each stream ends when those that it has under way have ended, an idle one now."""
        self._closed = True
        for stream in self._streams:
            stream.close()


class _Stream:
    """One stream: a task reads, one writes, and one answers each request."""

    def __init__(
        self,
        context: "aio.ServicerContext[Any, Any]",
        answer: Answer,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._context = context
        self._answer = answer
        self._log = log
        self._free = asyncio.Semaphore(AT_ONCE)
        self._ready: asyncio.Queue[tuple[bytes, asyncio.Future[None]]] = asyncio.Queue()
        self._last: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._draining = False
        self._broken: Exception | None = None

    async def run(self, requests: AsyncIterator[bytes]) -> None:
        # Each request would send it, beside the others' parts; grpc takes it once, and nothing beside it.
        await self._context.send_initial_metadata(())
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_ready())
            async with asyncio.TaskGroup() as answers:
                self._reading = answers.create_task(self._read(requests, answers))
            writing.cancel()
        if self._broken is not None:
            raise self._broken
        if self._draining:
            raise _draining()

    def close(self) -> None:
        """Reads no further. One whose caller has sent all that it had ends as ever."""
        if self._reading is None or not self._reading.done():
            self._drain()

    def _drain(self) -> None:
        self._draining = True
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, requests: AsyncIterator[bytes], answers: asyncio.TaskGroup) -> None:
        while not self._draining:
            await self._free.acquire()
            body = await anext(requests, None)
            if body is None:
                return
            head = _head(body)
            order = _order(head)
            task = answers.create_task(self._serve(body, head.id, self._last.get(order)))
            self._last[order] = task
            task.add_done_callback(partial(self._forget, order))

    def _forget(self, order: tuple[str, str], task: asyncio.Task[None]) -> None:
        self._free.release()
        if self._last.get(order) is task:
            del self._last[order]

    async def _serve(self, body: bytes, request_id: str, before: asyncio.Task[None] | None) -> None:
        async def write(part: bytes) -> None:
            await self._write(_INFER_RESPONSE + varint(len(part)) + part, before)

        try:
            problem = await self._outcome(body, write)
            if problem:
                await self._write(_failure(problem, request_id), before)
        except Exception:
            # A caller that has gone is no failure of the request's: how the stream ends says it.
            if self._broken is None:
                raise

    async def _outcome(self, body: bytes, write: Write) -> str:
        """What went wrong with a request; nothing, also if the whole stream is to end."""
        try:
            return await self._answer(body, write)
        except Exception as error:
            if self._broken is not None:
                raise
            told = in_domain(error, METHOD, self._log)
        if isinstance(told, UnavailableError) and told.reason == "DRAINING":
            self._drain()
            return ""
        return problem_of(code_of(told).name, message_of(told))

    async def _write(self, message: bytes, before: asyncio.Task[None] | None) -> None:
        """Returns when grpc has taken it."""
        if before is not None and not before.done():
            await asyncio.wait({before})
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.put_nowait((message, taken))
        await taken

    async def _write_ready(self) -> None:
        """Writes one at a time, as grpc wants it; a request that ends by its own time must not break a write off."""
        while True:
            message, taken = await self._ready.get()
            if taken.cancelled():
                continue
            try:
                await self._context.write(message)
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing can be written any more
                self._broken = error
                if self._reading is not None:
                    self._reading.cancel()
                if not taken.done():
                    taken.set_exception(error)
            else:
                if not taken.done():
                    taken.set_result(None)


def problem_of(code: str, message: str) -> str:
    """What a response says of a failure."""
    return f"[{code}] {message}"


def _failure(problem: str, request_id: str) -> bytes:
    """The response of a request that failed. Triton's own clients hand on its text alone, so that says the id, too."""
    if request_id:
        problem = f"{problem} (request {request_id[:_MOST_SHOWN]!r})"
    message = predict_pb2.ModelStreamInferResponse(error_message=problem)
    message.infer_response.id = request_id
    message.infer_response.parameters[FINAL_RESPONSE].bool_param = True
    return message.SerializeToString()


def _head(body: bytes) -> predict_pb2.PredictRequest:
    """A request as far as its parameters, which writers put before its tensors.

    What is no request has no fields, and so has one with too many: it is answered as those without an id are.
    """
    end = fields = 0
    try:
        while end < len(body) and body[end] in _HEAD:
            fields += 1
            if fields > _MOST_FIELDS:
                return predict_pb2.PredictRequest()
            length, start = read_varint(body, end + 1)
            end = start + length
        return predict_pb2.PredictRequest.FromString(body[:end])
    except (ValueError, DecodeError):
        # Whoever answers it says what is wrong.
        return predict_pb2.PredictRequest()


def _order(head: predict_pb2.PredictRequest) -> tuple[str, str]:
    """Requests of which this is the same are answered in their order."""
    if _SEQUENCE in head.parameters:
        said = head.parameters[_SEQUENCE]
        sequence = said.string_param or said.int64_param or said.uint64_param
        if sequence:
            return "sequence", str(sequence)
    return "id", head.id


def _draining() -> UnavailableError:
    return UnavailableError(
        "DRAINING", "this process ends; begin another stream, and send again what has no last response yet"
    )
