"""What follows the first part of a stream: relayed to its caller, or read to its end for the count alone.

Until the first part has come a stream is an attempt like any other, and all of the proxy's rules hold for it. From then
on it cannot be saved: how it ends is charged to its version, and the caller gets it as it is.
"""

import asyncio
from collections.abc import Awaitable, Callable

from router.call import DEADLINE_EXCEEDED, Answer, Parts, Reply
from services.common.errors import UnavailableError

Write = Callable[[bytes], Awaitable[None]]


class Rest:
    """The rest of a stream, whose end is told once; one that its caller leaves has none.

    A deadline that passes is the version's failure if most of the stream's time went by in waiting for parts, and
    nobody's if it went by in waiting for the caller to read them.

    Args:
        parts: what is read.
        on_end: told how it ended.
        is_over: whether the caller's time has passed.
        now: seconds of the monotonic clock.
    """

    def __init__(
        self,
        parts: Parts,
        on_end: Callable[[Reply], None],
        is_over: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._on_end = on_end
        self._is_over = is_over
        self._now = now
        self._begun = now()
        self._reading = 0.0

    async def read(self) -> bytes | Reply:
        """The next part, or how the stream ended."""
        began = self._now()
        try:
            got = await self._parts.read()
        finally:
            self._reading += self._now() - began
        if isinstance(got, Reply):
            self._end(got)
        return got

    def cancel(self) -> None:
        """Leaves it."""
        self._parts.cancel()
        if self._is_over():
            # As for other attempts: a deadline counts, whichever timer is first.
            self._end(Reply(DEADLINE_EXCEEDED, begun=True))

    def _end(self, end: Reply) -> None:
        if end.code != DEADLINE_EXCEEDED or self._reading >= (self._now() - self._begun) / 2:
            self._on_end(end)


async def relay(answer: Answer, write: Write, ending: Callable[[], bool]) -> Answer:
    """Hands on part after part, each when the caller has taken the one before, and answers how the stream ended.

    Args:
        answer: with the first part.
        write: hands a part to the caller.
        ending: whether there is no more time for streams.

    Raises:
        UnavailableError: DRAINING.
    """
    rest = answer.reply.rest
    part: bytes | Reply = answer.reply.body
    parts = 0
    try:
        while isinstance(part, bytes):
            await write(part)
            parts += 1
            part = await rest.read() if rest is not None else Reply("OK")
            if ending() and isinstance(part, bytes):
                raise UnavailableError(
                    "DRAINING", f"this Router ends, after {parts} parts of the answer; send the request again"
                )
    except BaseException:
        if rest is not None:
            rest.cancel()
        raise
    return answer._replace(reply=part, parts=parts)


async def see_out(attempt: "asyncio.Task[Reply]") -> None:
    """Reads an answer that nobody waits for to its end, so that its true outcome is counted."""
    rest = (await attempt).rest
    while rest is not None and isinstance(await rest.read(), bytes):
        pass


def give_up(attempt: "asyncio.Task[Reply]") -> None:
    """Ends an attempt, or the stream that it has opened."""
    if not attempt.cancel() and not attempt.cancelled() and attempt.exception() is None:
        rest = attempt.result().rest
        if rest is not None:
            rest.cancel()
