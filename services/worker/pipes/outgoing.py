"""The writing half of a pipe, apart from the reading half.

A transport that cannot write any more reads no more either, and with it is lost what the other side said before it
ended: why a version could not be loaded, why it crashed, what it had counted.
"""

import asyncio
import socket


class Outgoing:
    """Writes to a socket that a transport reads; what the other side does not take any more is lost without a word.

    Args:
        pipe: a connected socket. A duplicate of it is used, for the transport has its descriptor to itself.
    """

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe.dup()
        self._pipe.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._left = bytearray()
        self._over = False

    def write(self, frame: bytes) -> None:
        """Writes a frame after those before it, now or as soon as there is room."""
        if self._over:
            return
        waits = bool(self._left)
        self._left += frame
        if not waits:
            self._flush()
            if self._left:
                self._loop.add_writer(self._pipe, self._go_on)

    def close(self) -> None:
        """Lets go of the socket; what was not written is not."""
        if not self._over:
            self._over = True
            if self._left:
                self._loop.remove_writer(self._pipe)
            self._pipe.close()

    def _go_on(self) -> None:
        self._flush()
        if not self._left:
            self._loop.remove_writer(self._pipe)

    def _flush(self) -> None:
        try:
            while self._left:
                del self._left[: self._pipe.send(self._left)]
        except BlockingIOError:
            return
        except OSError:
            # The other side has ended, which the reading half tells once all that it said is read.
            self._left.clear()
