"""What a process says last is taken as a whole, or not waited for without end."""

import asyncio
import socket

from services.worker.pipes.last_words import say_last

# More than a pipe and a reader hold.
FRAME = bytes(4 << 20)


async def test_it_is_waited_for_until_all_of_it_is_taken() -> None:
    near, far = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=near)
    saying = asyncio.create_task(say_last(writer, FRAME, seconds=60.0))
    reader, ears = await asyncio.open_connection(sock=far)
    heard = len(await reader.readexactly(1 << 20))
    assert not saying.done()
    heard += len(await reader.read())
    await saying
    assert heard == len(FRAME)
    # Said again, as where a process is told to end a second time.
    await say_last(writer, b"")
    ears.close()


async def test_who_does_not_listen_is_not_waited_for_without_end() -> None:
    near, far = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=near)
    async with asyncio.timeout(30):
        await say_last(writer, FRAME, seconds=0.05)
    far.close()
