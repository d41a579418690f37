"""What the operating system refuses of a file, and what is done about it. Pure."""

import errno
import os
from pathlib import Path
from typing import Final

_RIGHTS: Final = "choose a place where you may read and write, or have its rights changed"
_ROOM: Final = "make room, or choose another place"
_NO_FOLDER: Final = "a part of the path is a file: choose another path"
_ADVICE: Final = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EISDIR: "name a file and no folder",
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: "something else stands there: choose another path",
    errno.ENOENT: "see how the path is written, and that its folder is there",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ELOOP: "a link leads back to itself: choose another path",
}


def folder_fault(error: OSError, folder: Path, advice: str) -> str:
    """As `file_fault`, with advice that holds for the folder, what is in it and where it is to be made alone."""
    path = Path(os.fsdecode(error.filename)) if error.filename is not None else None
    concerned = path is not None and (path.is_relative_to(folder) or folder.is_relative_to(path))
    return file_fault(error, advice if concerned else "")


def file_fault(error: OSError, advice: str = "") -> str:
    """`/data cannot be used: Permission denied; choose …`; empty: it is no refusal of a file.

    Args:
        error: what the operating system said.
        advice: what to do, where the caller knows that better.
    """
    if error.filename is None or error.errno not in _ADVICE:
        return ""
    path = error.filename.decode(errors="replace") if isinstance(error.filename, bytes) else error.filename
    return f"{path} cannot be used: {error.strerror}; {advice or _ADVICE[error.errno]}"
