"""Streams at their bounds: too many requests, slow readers, callers that leave, time that is over."""

import asyncio

from crossfade.predict.v1 import predict_pb2
from services.common.stream_infer import AT_ONCE, Write
from tests.integration.common.stream_house import StreamHouse, read, request
from tests.support.wait import until


async def test_at_its_bound_a_stream_is_not_read_and_its_sender_is_held(house: StreamHouse) -> None:
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


async def test_a_caller_that_leaves_takes_all_its_requests_with_it(house: StreamHouse) -> None:
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


async def test_a_slow_reader_holds_its_own_stream_alone(house: StreamHouse) -> None:
    slow, quick, answers = house.open(), house.open(), house.answers
    for number in (0, 1):
        await slow.write(request(number))
    await until(lambda: answers.begun == [0, 1])
    for number in (0, 1):
        answers.part(number, *[bytes(500_000)] * 60)
        answers.end(number)
    await until(lambda: len(answers.written) >= 4)
    last = -1
    while last != len(answers.written):
        last = len(answers.written)
        await asyncio.sleep(0.3)
    assert last < 60
    await quick.write(request(2))
    answers.part(2, b"a")
    assert await read(quick, 1) == [("2", b"a")]
    # Two that wait for one reader take turns.
    assert {number for number, _ in answers.written[:4]} == {0, 1}


async def test_a_request_that_its_own_time_ends_leaves_the_stream_whole(house: StreamHouse) -> None:
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
