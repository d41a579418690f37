"""Records cross a pipe whole, however its bytes are cut."""

import math

from hypothesis import given
from hypothesis import strategies as st

from services.worker.shared_memory.records import (
    BatchAnswer,
    BatchFeed,
    Outcome,
    PieceRecord,
    RequestFeed,
    RequestRecord,
    pack_batch,
    pack_request,
)

INT = st.integers(0, 2**31 - 1)
TIME = st.floats(0, 1e12)
REQUESTS = st.builds(RequestRecord, INT, INT, INT, TIME | st.just(math.inf))
ANSWERS = st.builds(
    BatchAnswer,
    rows=INT,
    size=INT,
    started=TIME,
    seconds=TIME,
    outcome=st.sampled_from(Outcome),
    finite=st.booleans(),
    counted=st.booleans(),
    pieces=st.lists(st.builds(PieceRecord, INT, INT), max_size=5).map(tuple),
    text=st.text(max_size=200),
)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@given(st.lists(REQUESTS, max_size=20), st.integers(1, 70))
def test_requests(requests: list[RequestRecord], size: int) -> None:
    feed = RequestFeed()
    data = b"".join(map(pack_request, requests))
    assert [one for part in cut(data, size) for one in feed.feed(part)] == requests


@given(st.lists(ANSWERS, max_size=8), st.integers(1, 70))
def test_answers(answers: list[BatchAnswer], size: int) -> None:
    feed = BatchFeed()
    data = b"".join(map(pack_batch, answers))
    assert [one for part in cut(data, size) for one in feed.feed(part)] == answers


def test_a_long_reason_is_cut_and_still_text() -> None:
    answer = BatchAnswer(1, 1, 0.0, 0.0, Outcome.RAISED, False, False, (PieceRecord(1, 1),), "ä" * 5000)
    (read,) = BatchFeed().feed(pack_batch(answer))
    assert 400 < len(read.text) <= 1000
    assert set(read.text) == {"ä"}
