"""The addresses of a Worker's versions: chosen once and kept while a version is held, and a while after.

Between a crash and the restart any other program could take the port, as its own or for an outgoing connection. So the
supervisor holds a socket that is bound to it and never listens, with SO_REUSEPORT (socket(7)): only a process of the
same user that sets it too can listen there.
"""

import socket
from collections.abc import Collection
from typing import Final

from services.worker.domain import ServingKey

RETENTION_SECONDS: Final = 900.0
"""How long the port of an unloaded version is kept: a Router with old routes must not find another version there."""


class Ports:
    """Reserved ports of one host.

    Args:
        host: where the versions' processes listen.
        advertised: under what name others reach the host.
    """

    def __init__(self, host: str, advertised: str) -> None:
        self._host = host
        self._advertised = advertised
        self._sockets: dict[ServingKey, socket.socket] = {}
        self._unloaded: dict[ServingKey, float] = {}

    def listen_address(self, key: ServingKey) -> str:
        """host:port that the process of `key` listens on; reserved at the first call."""
        return _join(self._host, self._port(key))

    def advertised_address(self, key: ServingKey) -> str:
        """host:port under which others reach it."""
        return _join(self._advertised, self._port(key))

    def prune(self, held: Collection[ServingKey], now: float) -> None:
        """Gives back the ports of what has been unloaded for long.

        Args:
            held: what is held at present.
            now: seconds of the monotonic clock.
        """
        left = (key for key in self._sockets if key not in held)
        self._unloaded = {key: self._unloaded.get(key, now) for key in left}
        for key in [key for key, since in self._unloaded.items() if now - since >= RETENTION_SECONDS]:
            self._sockets.pop(key).close()

    def close(self) -> None:
        """Gives all ports back."""
        for reserved in self._sockets.values():
            reserved.close()
        self._sockets.clear()

    def _port(self, key: ServingKey) -> int:
        reserved = self._sockets.get(key)
        if reserved is None:
            reserved = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind((self._host, 0))
            self._sockets[key] = reserved
        port: int = reserved.getsockname()[1]
        return port


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
