"""How a Prometheus server is checked, and what it is shown: as the files are at each connection."""

import ssl
import threading
from pathlib import Path
from typing import Final

CA_SETTING: Final = "CROSSFADE_EVALUATOR_PROMETHEUS_CA"
_Stamp = tuple[tuple[int, int, int], ...]


class PrometheusTls:
    """What https:// connections are made with, read again when a file has changed.

    Certificates may hold for a day, and an Evaluator runs for months. While files are being exchanged and do not belong
    together, what they held before is used.

    Args:
        ca: PEM file that the server's certificate is checked against; None: the system's.
        certificate: PEM file with the chain that is shown to a server that asks for one; None: none is.
        key: its private key.

    Raises:
        ValueError: a file cannot be used.
    """

    def __init__(self, ca: Path | None, certificate: Path | None = None, key: Path | None = None) -> None:
        self._ca = ca
        self._certificate = certificate
        self._key = key
        self._lock = threading.Lock()
        # Files that change after this look differ from it at the next.
        self._stamp = self._look()
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """For the next connection; it may be asked for from any thread."""
        with self._lock:
            stamp = self._look()
            if stamp and stamp != self._stamp:
                try:
                    self._context = self._read()
                    self._stamp = stamp
                except (OSError, ValueError):
                    # They are looked at again at the next connection.
                    pass
            return self._context

    def _look(self) -> _Stamp:
        """How the files stand; empty: one of them is not there."""
        files = (file for file in (self._ca, self._certificate, self._key) if file is not None)
        try:
            found = [file.stat() for file in files]
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)

    def _read(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except ssl.SSLError as error:
            raise ValueError(f"{CA_SETTING}: {self._ca} holds no certificate in PEM form ({error.reason})") from error
        except OSError as error:
            raise ValueError(f"{CA_SETTING}: {self._ca} cannot be read ({error.strerror})") from error
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key)
        return context
