"""What a client shows of TLS files that are exchanged while it lives: certificates may hold for a day or an hour."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from crossfade.connection import TlsContents, TlsFiles

_LOOK_SECONDS: Final = 1.0


class ShownFiles:
    """What TLS files held when they could last be used.

    Args:
        files: they.
        steady: seconds that never run backwards.

    Raises:
        OSError: a file cannot be read.
        ValueError: one is not what it is to be.
    """

    def __init__(self, files: TlsFiles, steady: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._steady = steady
        # Files that change after this look differ from it at the next.
        self._stamp = files.stamp()
        self._contents = files.contents()
        self._look_at = steady() + _LOOK_SECONDS

    @property
    def contents(self) -> TlsContents:
        """What they held at the latest look."""
        return self._contents

    @property
    def due(self) -> bool:
        """Whether they are to be looked at: they are once a second."""
        return self._steady() >= self._look_at

    def latest(self) -> TlsContents:
        """The same object until they can be used again and are others.

        While they do not belong together, or are not there for this process to read any more, it is what they held.
        """
        if self.due:
            self._look_at = self._steady() + _LOOK_SECONDS
            stamp = self._files.stamp()
            if stamp and stamp != self._stamp:
                with suppress(OSError, ValueError):
                    self._contents = self._files.contents()
                    self._stamp = stamp
        return self._contents
