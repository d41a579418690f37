"""A server of ModelStreamInfer whose answers come when the test says so, and a caller."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from grpc import aio
from structlog.testing import LogCapture

from crossfade.predict.v1 import predict_pb2
from services.common import guard
from services.common.stream_infer import METHOD, Answer, StreamInfer, Write


def request(
    number: int, request_id: str | None = None, sequence: int | str = 0, content: bytes = b""
) -> predict_pb2.PredictRequest:
    """A request that the test knows by its version; `request_id`: the number by default."""
    made = predict_pb2.PredictRequest(model_name="walk", model_version=str(number), raw_input_contents=[content])
    made.id = str(number) if request_id is None else request_id
    # As tritonclient writes them.
    if isinstance(sequence, str):
        made.parameters["sequence_id"].string_param = sequence
    elif sequence:
        made.parameters["sequence_id"].int64_param = sequence
    return made


class Answers:
    """Answers each request with the parts that the test hands over, until it says how the request ends.

    Attributes:
        begun: the requests that were begun, in their order.
        left: those that their caller left.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.left: list[int] = []
        self.written: list[tuple[int, int]] = []
        self._parts: defaultdict[int, asyncio.Queue[bytes | str | Exception]] = defaultdict(asyncio.Queue)

    def part(self, number: int, *contents: bytes) -> None:
        """Parts of a request's answer."""
        for content in contents:
            self._parts[number].put_nowait(content)

    def end(self, number: int, how: str | Exception = "") -> None:
        """How a request ends: well, with a problem, or by raising."""
        self._parts[number].put_nowait(how)

    async def answer(self, body: bytes, write: Write) -> str:
        asked = predict_pb2.PredictRequest.FromString(body)
        number = int(asked.model_version)
        self.begun.append(number)
        parts = 0
        try:
            while isinstance(part := await self._parts[number].get(), bytes):
                await write(
                    predict_pb2.PredictResponse(
                        id=asked.id, model_version=str(number), raw_output_contents=[part]
                    ).SerializeToString()
                )
                parts += 1
                self.written.append((number, parts))
        except asyncio.CancelledError:
            self.left.append(number)
            raise
        if isinstance(part, Exception):
            raise part
        return part


class StreamHouse:
    """A server behind the guard, and a caller.

    Attributes:
        answer: what answers a request.
        whole: streams whose callers have sent all that they had.
    """

    def __init__(self) -> None:
        self.answers = Answers()
        self.answer: Answer = self.answers.answer
        self.whole = 0
        self.log = LogCapture()
        log: Any = structlog.wrap_logger(None, processors=[self.log])
        self.streams = StreamInfer(log)
        self.server = aio.server(options=(("grpc.so_reuseport", 0),))
        guarded: Any = guard.GuardedServer(self.server, guard.Guard(guard.authenticate_local, log))
        service, method = METHOD.strip("/").split("/")
        handler: Any = grpc.stream_stream_rpc_method_handler(self._serve)
        guarded.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.channel = aio.insecure_channel(f"127.0.0.1:{port}")

    async def _serve(self, requests: AsyncIterator[bytes], context: "aio.ServicerContext[Any, Any]") -> None:
        async def read() -> AsyncIterator[bytes]:
            async for one in requests:
                yield one
            self.whole += 1

        await self.streams.serve(read(), context, self.answer)

    def open(self, timeout: float = 30.0) -> Any:
        call: aio.StreamStreamMultiCallable[Any, Any] = self.channel.stream_stream(
            METHOD,
            request_serializer=predict_pb2.PredictRequest.SerializeToString,
            response_deserializer=predict_pb2.ModelStreamInferResponse.FromString,
        )
        return call(timeout=timeout)

    async def stop(self, grace: float) -> None:
        self.streams.close()
        await self.server.stop(grace)


async def read(call: Any, count: int) -> list[tuple[str, bytes]]:
    """So many parts: whose, and what."""
    found = [await call.read() for _ in range(count)]
    return [(one.infer_response.model_version, *one.infer_response.raw_output_contents) for one in found]
