"""The addresses of a Worker's versions: chosen once and kept while a version is held, and a while after.

Between a crash and the restart any other program could take the port, as its own or for an outgoing connection. So the
supervisor holds a socket that is bound to it and never listens, with SO_REUSEPORT (socket(7)): only a process of the
same user that sets it too can listen there.
"""

import errno
import socket
from collections.abc import Collection
from typing import Final

from services.common.left import Left
from services.worker.domain import ServingKey

RETENTION_SECONDS: Final = 900.0
"""How long the port of an unloaded version is kept: a Router with old routes must not find another version there."""


class Ports:
    """Reserved ports of one host.

    Args:
        host: where the versions' processes listen.
        advertised: under what name others reach the host.
        among: the ports that may be taken; None: any that the system gives.
    """

    def __init__(self, host: str, advertised: str, among: range | None = None) -> None:
        self._host = host
        self._advertised = advertised
        self._among = among
        self._sockets: dict[ServingKey, socket.socket] = {}
        self._unloaded = Left[ServingKey](RETENTION_SECONDS)

    def listen_address(self, key: ServingKey) -> str:
        """host:port that the process of `key` listens on; reserved at the first call.

        Raises:
            OSError: no port is free.
        """
        return _join(self._host, self._port(key))

    def advertised_address(self, key: ServingKey) -> str:
        """host:port under which others reach it.

        Raises:
            OSError: no port is free.
        """
        return _join(self._advertised, self._port(key))

    def prune(self, held: Collection[ServingKey], now: float) -> None:
        """Gives back the ports of what has been unloaded for long.

        Args:
            held: what is held at present.
            now: seconds of the monotonic clock.
        """
        for key in self._unloaded.over(self._sockets, held, now):
            self._sockets.pop(key).close()

    def close(self) -> None:
        """Gives all ports back."""
        for reserved in self._sockets.values():
            reserved.close()
        self._sockets.clear()

    def _port(self, key: ServingKey) -> int:
        reserved = self._sockets.get(key)
        if reserved is None:
            reserved = self._sockets[key] = self._reserve()
        port: int = reserved.getsockname()[1]
        return port

    def _reserve(self) -> socket.socket:
        for port in self._among or (0,):
            reserved = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
            try:
                # As any server: connections that its forerunner has closed are no hindrance (TIME_WAIT, ip(7)).
                reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                reserved.bind((self._host, port))
            except OSError as error:
                reserved.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            # Shared only now, and with this Worker's processes alone: bound so, a port could be another Worker's.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            return reserved
        if self._among is None:
            raise OSError(errno.EADDRINUSE, f"no port of {self._host} is free")
        raise OSError(
            errno.EADDRINUSE,
            f"no port of {self._host} from {self._among[0]} to {self._among[-1]} is free: name more of them in "
            "CROSSFADE_VERSION_PORTS, for each version and kind of traffic takes one and keeps it for "
            f"{RETENTION_SECONDS / 60:.0f} min after its end",
        )


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
