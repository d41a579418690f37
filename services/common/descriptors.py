"""File descriptors, of which each connection takes one: as many as a process may have, and a word before none is left.

gRPC's core takes no connection meanwhile and says so each second in words of its own, which name no remedy; it goes on
by itself when there are some again.
"""

import asyncio
import errno
import os
import resource
from collections.abc import Callable
from typing import Final

import structlog

from services.common.rarely import Rarely

_LOOK_SECONDS: Final = 5.0
_FEW: Final = 0.9
"""Share of the limit from which on they are few."""
_ENOUGH: Final = 65_536
"""No more are asked for: some systems name billions, or refuse to give what they name."""
_OPEN: Final = "/dev/fd"
OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Numbers of the errors where a process, or the machine, has none left."""
MORE_DESCRIPTORS: Final = "the Worker needs more file descriptors than it may have (ulimit -n)"
"""What is said then of a Worker."""


def raise_limit() -> None:
    """Takes what the system allows this process to take: what it gives unasked is often 1,024 or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """How many this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def used() -> int:
    """How many it has open; 0: the system does not tell."""
    try:
        return len(os.listdir(_OPEN))  # noqa: PTH208 - a path for each is not needed
    except OSError as error:
        # To look takes one, too.
        return limit() if error.errno in OUT_OF_DESCRIPTORS else 0


class Descriptors:
    """Warns when few are left.

    Args:
        log: the service's log.
        used: how many are open.
        limit: how many may be.
    """

    def __init__(
        self,
        log: structlog.typing.FilteringBoundLogger,
        used: Callable[[], int] = used,
        limit: Callable[[], int] = limit,
    ) -> None:
        self._log = log
        self._used = used
        self._limit = limit
        self._rarely = Rarely()

    def look(self) -> None:
        """Warns, once a minute."""
        used, limit = self._used(), self._limit()
        if 0 < limit * _FEW <= used and self._rarely.due("few") is not None:
            self._log.warning(
                "few file descriptors are left",
                used=used,
                limit=limit,
                advice="each connection takes one, and new ones wait while there is none: find out who holds so many, "
                "or raise the limit (ulimit -n, systemd's LimitNOFILE=, docker's --ulimit nofile=)",
            )

    async def watch(self) -> None:
        """Looks again and again, until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)
