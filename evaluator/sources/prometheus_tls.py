"""How a Prometheus server is checked, and what it is shown: as the files are at each connection."""

import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from crossfade.connection import stamp_of

CA_SETTING: Final = "CROSSFADE_EVALUATOR_PROMETHEUS_CA"


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
        self._files = tuple(file for file in (ca, certificate, key) if file is not None)
        self._lock = threading.Lock()
        # Files that change after this look differ from it at the next.
        self._stamp = stamp_of(self._files)
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """For the next connection; it may be asked for from any thread."""
        with self._lock:
            stamp = stamp_of(self._files)
            if stamp and stamp != self._stamp:
                # What cannot be used is looked at again at the next connection.
                with suppress(OSError, ValueError):
                    self._context = self._read()
                    self._stamp = stamp
            return self._context

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
