"""The archive of an exported program, written and looked into."""

import io
import json
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import torch


class UnwrittenError(OSError):
    """The archive's file takes no more."""


class _Sink(io.RawIOBase):
    """A file whose failure is told afterwards: torch ends the process where one fails under its hands."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        # torch asks, and then only goes back to the beginning once all is written.
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        del whence
        return offset

    def write(self, data: Any, /) -> int:
        try:
            if self.failure is None:
                self._file.write(data)
        except OSError as error:
            self.failure = error
        return len(data)


def save_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes a program; what torch raises of one that it cannot store is passed on.

    Raises:
        UnwrittenError: the file takes no more.
    """
    sink = None
    try:
        with path.open("wb") as file:
            sink = _Sink(file)
            torch.export.save(program, sink)  # type: ignore[arg-type]  # it writes, and seeks to the beginning
    except OSError as error:
        raise UnwrittenError(error.errno, error.strerror, str(path)) from error
    if sink.failure is not None:
        raise UnwrittenError(sink.failure.errno, sink.failure.strerror, str(path)) from sink.failure


def pickled_parts(path: Path) -> list[str]:
    """Names of the weights and constants in a .pt2 archive that torch stored as a pickle."""
    with ZipFile(path) as archive:
        listings = [name for name in archive.namelist() if name.endswith("_config.json")]
        entries = [json.loads(archive.read(name))["config"].items() for name in listings]
    return [name for listing in entries for name, entry in listing if entry["use_pickle"]]
