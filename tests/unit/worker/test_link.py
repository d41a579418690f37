"""The pipe to a process that serves: what it said before it ended is heard, whatever it was sent since."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from services.worker.domain import FailureCode
from services.worker.pipes import messages
from services.worker.pipes.link import Link

REFUSAL = messages.Failed(FailureCode.LOAD_FAILED, "why")

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("unread", [True, False])
def test_what_a_process_said_last_is_heard_though_it_can_be_sent_no_more(run: Run, unread: bool) -> None:
    """A supervisor that was busy took a version that had said why it failed for one that crashed without a word."""

    async def hear() -> None:
        near, far = socket.socketpair()
        if unread:
            near.sendall(messages.pack(messages.Count(1)))
        far.sendall(messages.pack(REFUSAL))
        far.close()
        link = await Link.open(near)
        for number in range(3):
            link.send(messages.Count(number))
        assert [message async for message, _ in link.reports()] == [REFUSAL]
        assert await link.counts(60.0) is None
        link.close()

    run(hear())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_orders_wait_for_room_and_come_in_their_order(run: Run) -> None:
    async def order() -> None:
        near, far = socket.socketpair()
        link = await Link.open(near)
        # More than a pipe holds.
        for number in range(5):
            link.send(messages.Labelled(number), bytes(1 << 20))
        reader, writer = await asyncio.open_connection(sock=far)
        for number in range(5):
            assert await messages.read(reader) == (messages.Labelled(number), bytes(1 << 20))
        link.send(messages.Count(7))
        assert await messages.read(reader) == (messages.Count(7), b"")
        link.close()
        link.send(messages.Count(8))
        assert await messages.read(reader) is None
        writer.close()

    run(order())
