"""A port for a server of this machine that is yet to start, or to start again."""

import secrets
import socket
from typing import Final

# Below the ranges from which outgoing connections get theirs (Linux: from 32768 on), so that a server that was killed
# finds its port free again, however many connections were opened meanwhile.
_PORTS: Final = range(20_000, 32_000)
_TRIES: Final = 100


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens at.

    Raises:
        OSError: no free one was found.
    """
    for _ in range(_TRIES):
        with socket.socket() as probe:
            try:
                # Processes whose `random` was seeded alike would get each other's.
                probe.bind(("127.0.0.1", port := secrets.choice(_PORTS)))
            except OSError:
                continue
            return port
    raise OSError(f"none of {_TRIES} ports from {_PORTS[0]} to {_PORTS[-1]} of 127.0.0.1 is free")
