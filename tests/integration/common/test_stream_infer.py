"""Requests of one ModelStreamInfer: answered side by side, told apart, each with its own failures."""

from collections import defaultdict
from typing import Any

import grpc
import pytest
from grpc import aio

from crossfade.predict.v1 import predict_pb2
from services.common.errors import InvalidArgumentError
from services.common.stream_infer import AT_ONCE, METHOD, Write
from tests.integration.common.stream_house import StreamHouse, read, request
from tests.support.wait import until


async def test_a_slow_request_does_not_hold_the_others_and_each_ones_parts_are_in_order(house: StreamHouse) -> None:
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


async def test_parts_of_many_requests_never_mix(house: StreamHouse) -> None:
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
    house: StreamHouse, asked: list[predict_pb2.PredictRequest]
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


async def test_one_with_very_many_parameters_is_answered_as_one_without_an_id(house: StreamHouse) -> None:
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


async def test_a_failure_says_whose_it_is_and_ends_no_other_request(house: StreamHouse) -> None:
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


async def test_one_that_has_sent_all_waits_for_all_its_answers(house: StreamHouse) -> None:
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


@pytest.mark.parametrize(
    "body", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff", b"\x0a\x05abc", b"\x1a\x01\xff", b"GET"]
)
async def test_what_is_no_request_is_whoevers_to_refuse_that_answers_it(house: StreamHouse, body: bytes) -> None:
    heard: list[bytes] = []

    async def answer(given: bytes, _: Write) -> str:
        heard.append(given)
        return "no request"

    house.answer = answer
    call: Any = house.channel.stream_stream(METHOD)(timeout=10)
    await call.write(body)
    response = predict_pb2.ModelStreamInferResponse.FromString(await call.read())
    assert (heard, response.error_message, response.infer_response.id) == ([body], "no request", "")
