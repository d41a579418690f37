"""What is said of a version whose process cannot be started at present, and that it is tried again."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.common.ports import free_port
from services.worker.supervisor.lives import RETRY_SECONDS
from services.worker.supervisor.plan import Phase
from tests.unit.worker.test_supervisor import READY, House


@asynccontextmanager
async def running(root: Path, **options: Any) -> AsyncIterator[House]:
    """A supervisor that runs meanwhile."""
    made = House(root, **options)
    task = asyncio.get_running_loop().create_task(made.supervisor.run())
    try:
        yield made
    finally:
        made.supervisor.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def numbered(number: int) -> OSError:
    """The system's error of this number."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            numbered(errno.EMFILE),
            "Too many open files: the Worker needs more file descriptors than it may have (ulimit -n)",
        ),
        (numbered(errno.ENOMEM), "Cannot allocate memory"),
        (OSError("the process that forks did not answer"), "the process that forks did not answer"),
        (EOFError("unexpected EOF"), "the process that forks it has ended, and another one is begun"),
        (KeyError("unforeseen"), "KeyError('unforeseen')"),
    ],
)
async def test_it_says_why_in_words_and_is_tried_again(tmp_path: Path, refusal: Exception, words: str) -> None:
    async with running(tmp_path) as made:
        made.forks.refusal = refusal
        made.want(made.publish("v1"))
        assert (await made.phase(Phase.WAITING)).error == f"its process cannot be started: {words}"
        made.forks.refusal = None
        made.clock.advance(RETRY_SECONDS)
        (await made.process()).say(READY)
        await made.phase(Phase.READY)


async def test_ports_that_are_too_few_are_named_with_what_to_do(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path, among=range(port, port + 1)) as made:
        first = made.publish("v0")
        made.want(first)
        (await made.process()).say(READY)
        made.want(first, made.publish("v1"))
        assert (await made.phase(Phase.WAITING)).error == (
            f"its process cannot be started: no port of 127.0.0.1 from {port} to {port} is free: name more of them in "
            "CROSSFADE_VERSION_PORTS, for each version and kind of traffic takes one and keeps it for 15 min after its "
            "end"
        )
