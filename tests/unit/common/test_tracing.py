"""The end of a process that traces."""

import asyncio
import socket

from services.common.telemetry.tracing import CLOSE_SECONDS, KEEP, Tracing


async def test_a_receiver_that_hangs_holds_neither_the_event_loop_nor_the_end() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as hole:
        # It takes connections, and says nothing.
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        tracing = Tracing("test", "one", f"http://127.0.0.1:{hole.getsockname()[1]}", 1.0)
        tracing.tracer.start_span("a", attributes={KEEP: True}).end()
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.02)
                turns += 1

        turning, begun = asyncio.create_task(turn()), loop.time()
        await tracing.close()
        seconds = loop.time() - begun
        turning.cancel()
    assert seconds < CLOSE_SECONDS + 2.0
    assert turns > 10
