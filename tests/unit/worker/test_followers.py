"""The first front-end and a further one, of which the test plays the part, over a real pipe."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from crossfade.predict.v1 import predict_pb2
from services.worker.pipes import messages
from services.worker.version.followers import Followers

LONG = 1 << 26


async def label(request: predict_pb2.FeedbackRequest) -> predict_pb2.FeedbackResponse:
    """Says of each label what it was, a very long one in more words than a frame takes."""
    results = [predict_pb2.ObservationResult(reason=one.label * LONG) for one in request.observations]
    return predict_pb2.FeedbackResponse(results=results)


@contextlib.asynccontextmanager
async def followed(lost: list[str]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A follower's end."""
    near, far = socket.socketpair()
    followers = await Followers.open([near], label, lost.append)
    reader, writer = await asyncio.open_connection(sock=far)
    async with asyncio.timeout(30):
        yield reader, writer
        writer.close()
        await followers.drain(messages.Drain(0.0, 0.0))


async def test_an_answer_that_no_frame_takes_fails_one_call_and_no_process() -> None:
    lost: list[str] = []
    async with followed(lost) as (reader, writer):
        for number, said in enumerate(("x", "")):
            request = predict_pb2.FeedbackRequest(observations=[predict_pb2.Observation(label=said)])
            writer.write(messages.pack(messages.Labels(number), request.SerializeToString()))
        refused, _ = await messages.read(reader) or (None, b"")
        answered, body = await messages.read(reader) or (None, b"")
    assert isinstance(refused, messages.Labelled)
    assert (refused.number, "bytes" in refused.problem) == (0, True)
    assert answered == messages.Labelled(1)
    assert len(predict_pb2.FeedbackResponse.FromString(body).results) == 1
    assert not lost


def test_a_frame_that_nobody_would_read_is_not_packed() -> None:
    with pytest.raises(ValueError, match="bytes"):
        messages.pack(messages.Labels(1), bytes(LONG))
