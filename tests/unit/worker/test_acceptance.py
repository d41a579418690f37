"""Telling a caller that its request has begun, while something else ends it."""

import asyncio
from typing import Any

import pytest
from grpc import aio

from crossfade import metadata as keys
from services.worker.front_end.acceptance import Acceptance


class SlowContext:
    """A call whose metadata is sent when it is let."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.sent: list[Any] = []
        self.trailing: Any = ()
        self._error = error

    def set_trailing_metadata(self, metadata: Any) -> None:
        """Notes it."""
        self.trailing = metadata

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Waits for `go`."""
        await self.go.wait()
        if self._error is not None:
            raise self._error
        self.sent.append(metadata)


async def test_whoever_waits_for_it_can_be_ended_and_the_word_is_sent_all_the_same() -> None:
    context = SlowContext()
    acceptance = Acceptance(context)  # type: ignore[arg-type]  # as far as it is needed
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await acceptance.say()
    saying = asyncio.create_task(acceptance.say())
    await asyncio.sleep(0)
    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying
    context.go.set()
    await acceptance.say()
    assert context.sent == [((keys.ACCEPTED, "1"),)]
    assert context.trailing == ((keys.ACCEPTED, "1"),)


async def test_a_caller_that_has_gone_needs_no_word() -> None:
    context = SlowContext(aio.UsageError("the call is over"))
    context.go.set()
    await Acceptance(context).say()  # type: ignore[arg-type]  # as far as it is needed
