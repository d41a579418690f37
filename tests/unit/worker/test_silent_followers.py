"""A front-end that says nothing any more is noticed."""

import socket
from functools import partial

from crossfade.predict.v1 import predict_pb2
from services.worker.pipes import messages
from services.worker.pipes.link import Link
from services.worker.version.followers import UNANSWERED_LOOKS, Followers
from tests.support.wait import until


async def _label(_: predict_pb2.FeedbackRequest) -> predict_pb2.FeedbackResponse:
    return predict_pb2.FeedbackResponse()


def _has_heard(link: Link, times: int) -> bool:
    return link.heard == times


async def test_one_that_answers_nothing_for_many_looks_is_lost() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    links = [await Link.open(ours) for ours, _ in pairs]
    lost: list[str] = []
    followers = Followers(links, _label, lost.append)
    answering = pairs[0][1]
    for look in range(1, UNANSWERED_LOOKS + 1):
        followers.look()
        answering.sendall(messages.pack_counts(0, []))
        await until(partial(_has_heard, links[0], look))
    assert lost == []
    followers.look()
    assert lost == [f"one of its front-ends did not answer {UNANSWERED_LOOKS} times, and was taken to hang"]
    for link, (_, theirs) in zip(links, pairs, strict=True):
        link.close()
        theirs.close()
