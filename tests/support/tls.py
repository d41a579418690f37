"""TLS files that are exchanged under a server, and whose certificate it shows."""

import shutil
import socket
import ssl
from pathlib import Path
from typing import Any


class Files:
    """The files that a server reads, exchanged for those of other names."""

    def __init__(self, source: Path, folder: Path, who: str) -> None:
        self._source, self._folder = source, folder
        self.put("certificate", f"{who}.pem")
        self.put("key", f"{who}.key")
        self.put("ca", "ca.pem")

    def put(self, what: str, name: str) -> None:
        shutil.copy(self._source / name, self._folder / what)

    @property
    def settings(self) -> dict[str, Any]:
        return {f"tls_{what}": self._folder / what for what in ("certificate", "key", "ca")}


def shown(address: str, folder: Path) -> str:
    """Whose certificate a server shows to a new connection."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "viewer.pem", folder / "viewer.key")
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    with context.wrap_socket(connection, server_hostname=host) as secured:
        names: Any = (secured.getpeercert() or {})["subjectAltName"]
    return str(next(value for kind, value in names if kind == "URI")).rpartition("/")[2]
