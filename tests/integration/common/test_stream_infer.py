"""ModelStreamInfer on a real server, whose answers come when the test says so."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import structlog
from grpc import aio
from structlog.testing import LogCapture

from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2
from services.common import guard
from services.common.errors import InvalidArgumentError, UnavailableError
from services.common.stream_infer import AT_ONCE, METHOD, Answer, StreamInfer, Write
from tests.support.wait import until


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


class House:
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


@pytest.fixture
async def house() -> AsyncIterator[House]:
    built = House()
    await built.server.start()
    yield built
    await built.channel.close()
    await built.server.stop(None)


async def read(call: Any, count: int) -> list[tuple[str, bytes]]:
    """So many parts: whose, and what."""
    found = [await call.read() for _ in range(count)]
    return [(one.infer_response.model_version, *one.infer_response.raw_output_contents) for one in found]


async def test_a_slow_request_does_not_hold_the_others_and_each_ones_parts_are_in_order(house: House) -> None:
    call, answers = house.open(), house.answers
    for number in range(3):
        await call.write(request(number))
    await until(lambda: answers.begun == [0, 1, 2])
    answers.part(2, b"a")
    assert await read(call, 1) == [("2", b"a")]
    answers.part(1, b"a", b"b")
    assert await read(call, 2) == [("1", b"a"), ("1", b"b")]
    answers.part(2, b"b")
    answers.end(2)
    assert await read(call, 1) == [("2", b"b")]
    answers.part(0, b"a")
    answers.end(0)
    answers.end(1)
    assert await read(call, 1) == [("0", b"a")]
    await call.done_writing()
    assert await call.read() is aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_parts_of_many_requests_never_mix(house: House) -> None:
    call, answers = house.open(), house.answers
    contents = [bytes((part,)) * 50_000 for part in range(20)]
    for number in range(AT_ONCE):
        answers.part(number, *contents)
        answers.end(number)
        await call.write(request(number))
    await call.done_writing()
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    while (one := await call.read()) is not aio.EOF:
        found[one.infer_response.id].extend(one.infer_response.raw_output_contents)
    assert found == {str(number): contents for number in range(AT_ONCE)}


@pytest.mark.parametrize(
    "asked",
    [
        [request(0, ""), request(1, "")],
        [request(0, "same"), request(1, "same")],
        [request(0, "7_0", sequence=7), request(1, "7_1", sequence=7)],
        [request(0, "a_0", sequence="a"), request(1, "a_1", sequence="a")],
    ],
    ids=["without an id", "the same id", "a sequence", "a sequence by name"],
)
async def test_answers_that_could_not_be_told_apart_come_in_the_order_of_their_requests(
    house: House, asked: list[predict_pb2.PredictRequest]
) -> None:
    call, answers = house.open(), house.answers
    for one in (*asked, request(2)):
        await call.write(one)
    # All of them are worked on.
    await until(lambda: answers.begun == [0, 1, 2])
    answers.part(1, b"second")
    answers.end(1)
    answers.part(2, b"another's")
    answers.end(2)
    assert await read(call, 1) == [("2", b"another's")]
    answers.part(0, b"first", b"first too")
    answers.end(0, "it went wrong")
    assert await read(call, 2) == [("0", b"first"), ("0", b"first too")]
    assert (await call.read()).error_message.startswith("it went wrong")
    assert await read(call, 1) == [("1", b"second")]
    # One that comes when they are done waits for nobody.
    await call.write(request(3, asked[0].id))
    answers.part(3, b"third")
    assert await read(call, 1) == [("3", b"third")]


async def test_one_with_very_many_parameters_is_answered_as_one_without_an_id(house: House) -> None:
    # Whatever is read of each request before it is begun, nothing else is done meanwhile.
    long, plain = request(1, "a"), request(2, "")
    for number in range(256):
        long.parameters[f"p{number}"].bool_param = True
    call = house.open()
    await call.write(long)
    await call.write(plain)
    await until(lambda: house.answers.begun == [1, 2])
    house.answers.part(2, b"y")
    house.answers.end(2)
    house.answers.part(1, b"x")
    house.answers.end(1)
    assert await read(call, 2) == [("1", b"x"), ("2", b"y")]
    call.cancel()


async def test_a_failure_says_whose_it_is_and_ends_no_other_request(house: House) -> None:
    call, answers = house.open(), house.answers
    for number in range(4):
        await call.write(request(number))
    answers.end(1, InvalidArgumentError("INPUT_SHAPE", "start takes 4 columns"))
    refused = await call.read()
    assert refused.error_message == "[INVALID_ARGUMENT] start takes 4 columns (request '1')"
    assert refused.infer_response.id == "1"
    assert refused.infer_response.parameters["triton_final_response"].bool_param
    answers.end(2, RuntimeError("nobody expected it"))
    unexpected = await call.read()
    assert unexpected.error_message.startswith("[INTERNAL] internal error; the service's log has it under error_id ")
    assert unexpected.infer_response.id == "2"
    (line,) = house.log.entries
    assert (line["event"], line["method"]) == ("call failed", METHOD)
    assert line["error_id"] in unexpected.error_message
    answers.end(3, "[UNAVAILABLE] its process is gone")
    assert (await call.read()).infer_response.id == "3"
    answers.part(0, b"a")
    answers.end(0)
    assert await read(call, 1) == [("0", b"a")]
    await call.done_writing()
    assert await call.read() is aio.EOF


async def test_at_its_bound_a_stream_is_not_read_and_its_sender_is_held(house: House) -> None:
    call, answers = house.open(), house.answers
    sent = 0

    async def send() -> None:
        nonlocal sent
        for number in range(4 * AT_ONCE):
            # More than gRPC takes ahead of a server that does not read.
            await call.write(request(number, content=bytes(1_000_000)))
            sent += 1

    sending = asyncio.create_task(send())
    await until(lambda: len(answers.begun) == AT_ONCE)
    last = -1
    while last != sent:
        last = sent
        await asyncio.sleep(0.3)
    assert AT_ONCE <= sent < 2 * AT_ONCE
    assert len(answers.begun) == AT_ONCE
    # A place that becomes free is the next one's.
    answers.end(5)
    await until(lambda: answers.begun[AT_ONCE:] == [AT_ONCE])
    sending.cancel()
    call.cancel()
    await until(lambda: len(answers.left) == AT_ONCE)


async def test_a_caller_that_leaves_takes_all_its_requests_with_it(house: House) -> None:
    call, other, answers = house.open(), house.open(), house.answers
    for number in range(3):
        await call.write(request(number))
    await other.write(request(9))
    answers.part(1, b"a")
    await read(call, 1)
    await until(lambda: len(answers.begun) == 4)
    call.cancel()
    await until(lambda: sorted(answers.left) == [0, 1, 2])
    answers.part(9, b"a")
    assert await read(other, 1) == [("9", b"a")]
    assert house.log.entries == []


async def test_one_that_has_sent_all_waits_for_all_its_answers(house: House) -> None:
    call, answers = house.open(), house.answers
    for number in range(3):
        await call.write(request(number))
    await call.done_writing()
    await until(lambda: len(answers.begun) == 3)
    for number in (2, 0, 1):
        answers.part(number, b"a")
        answers.end(number)
        assert await read(call, 1) == [(str(number), b"a")]
    assert await call.read() is aio.EOF


async def test_a_slow_reader_holds_its_own_stream_alone(house: House) -> None:
    slow, quick, answers = house.open(), house.open(), house.answers
    for number in (0, 1):
        await slow.write(request(number))
        answers.part(number, *[bytes(500_000)] * 60)
        answers.end(number)
    last = -1
    while last != len(answers.written):
        last = len(answers.written)
        await asyncio.sleep(0.3)
    assert 0 < last < 60
    await quick.write(request(2))
    answers.part(2, b"a")
    assert await read(quick, 1) == [("2", b"a")]
    # Two that wait for one reader take turns.
    assert {number for number, _ in answers.written[:4]} == {0, 1}


async def test_a_request_that_its_own_time_ends_leaves_the_stream_whole(house: House) -> None:
    inner = house.answer

    async def answer(body: bytes, write: Write) -> str:
        if predict_pb2.PredictRequest.FromString(body).model_version != "0":
            return await inner(body, write)
        try:
            async with asyncio.timeout(1.0):
                return await inner(body, write)
        except TimeoutError:
            return "[DEADLINE_EXCEEDED] it took too long"

    house.answer = answer
    call = house.open()
    await call.write(request(0))
    # It is cut off within a write, for its caller does not read.
    house.answers.part(0, *[bytes(500_000)] * 60)
    await until(lambda: house.answers.left == [0])
    await call.write(request(1))
    house.answers.part(1, b"a")
    house.answers.end(1)
    seen: list[predict_pb2.ModelStreamInferResponse] = [await call.read()]
    while seen[-1].infer_response.id != "1":
        seen.append(await call.read())
    (problem,) = [one for one in seen if one.error_message]
    assert problem.error_message.startswith("[DEADLINE_EXCEEDED] it took too long")
    assert len(seen) < 60


async def test_an_idle_stream_holds_no_server_that_ends(house: House) -> None:
    idle, used = house.open(), house.open()
    await used.write(request(0))
    house.answers.part(0, b"a")
    house.answers.end(0)
    await read(used, 1)
    await idle.initial_metadata()
    await asyncio.wait_for(house.stop(60.0), 10)
    for call in (idle, used):
        with pytest.raises(aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(raised.value).reason == "DRAINING"


async def test_what_is_under_way_ends_first_and_nothing_more_is_taken(house: House) -> None:
    call, whole, answers = house.open(), house.open(), house.answers
    await call.write(request(0))
    await whole.write(request(1))
    await whole.done_writing()
    await until(lambda: len(answers.begun) == 2 and house.whole == 1)
    stopping = asyncio.create_task(house.stop(60.0))
    await asyncio.sleep(0)
    await call.write(request(2))
    for number, one in ((0, call), (1, whole)):
        answers.part(number, b"a")
        answers.end(number)
        assert await read(one, 1) == [(str(number), b"a")]
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert details_of(raised.value).reason == "DRAINING"
    # It had sent all that it had.
    assert await whole.read() is aio.EOF
    await asyncio.wait_for(stopping, 10)
    assert 2 not in answers.begun


async def test_a_request_that_the_process_breaks_off_ends_the_stream_after_the_others(house: House) -> None:
    call, answers = house.open(), house.answers
    for number in range(2):
        await call.write(request(number))
    await until(lambda: len(answers.begun) == 2)
    answers.end(0, UnavailableError("DRAINING", "this process ends"))
    answers.part(1, b"a")
    answers.end(1)
    assert await read(call, 1) == [("1", b"a")]
    with pytest.raises(aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(raised.value).reason == "DRAINING"


async def test_one_that_comes_late_is_told_to_go_elsewhere(house: House) -> None:
    house.streams.close()
    with pytest.raises(aio.AioRpcError) as raised:
        await house.open().read()
    assert details_of(raised.value).reason == "DRAINING"


@pytest.mark.parametrize(
    "body", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff", b"\x0a\x05abc", b"\x1a\x01\xff", b"GET"]
)
async def test_what_is_no_request_is_whoevers_to_refuse_that_answers_it(house: House, body: bytes) -> None:
    heard: list[bytes] = []

    async def answer(given: bytes, _: Write) -> str:
        heard.append(given)
        return "no request"

    house.answer = answer
    call: Any = house.channel.stream_stream(METHOD)(timeout=10)
    await call.write(body)
    response = predict_pb2.ModelStreamInferResponse.FromString(await call.read())
    assert (heard, response.error_message, response.infer_response.id) == ([body], "no request", "")
