"""The file of a reference profile: what `crossfade profile --to` writes and `package(profile=...)` reads."""

import importlib.metadata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from crossfade.manifest import MAX_MANIFEST_BYTES
from crossfade.profile import ProfileError
from crossfade.profiling.summary import Summary
from crossfade.reference_profile import Profile
from crossfade.strict_json import FieldError, decode, encode, parse, refuse, require

FORMAT_VERSION: Final = 1
_MAKE: Final = "crossfade profile DATA --to FILE makes one"


class Names(StrEnum):
    """Where the features' names come from."""

    FILE = "file"
    POSITIONS = "positions"


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """A reference profile that belongs to no artifact yet.

    Attributes:
        format_version: of this file.
        created_by: the release that wrote it.
        source: the name of the file of training data.
        input: the model's input that it is of; None: whichever `package` profiles.
        names: whether features are named as in the file, or by their positions in the input.
        width: columns of the input, those included that are not watched.
        profile: the profile; its `input` counts where `input` is given.
    """

    format_version: int
    created_by: str
    source: str
    input: str | None
    names: Names
    width: int
    profile: Profile

    def __post_init__(self) -> None:
        require(self.format_version == FORMAT_VERSION, "format_version", f"must be {FORMAT_VERSION}")
        require(self.width > 0, "width", "must be positive")
        require(self.input is None or self.input == self.profile.input, "input", "must be that of the profile")
        inside = all(feature.index < self.width for feature in self.profile.features)
        require(inside, "profile.features", f"an index is beyond the {self.width} columns")


def profile_file(summary: Summary) -> ProfileFile:
    """The file of a summary's profile.

    Raises:
        ProfileError: no profile can be made of it.
    """
    if summary.profile is None:
        raise ProfileError(f"no profile can be made of {summary.source}: {summary.obstacle}")
    return ProfileFile(
        FORMAT_VERSION,
        f"crossfade {importlib.metadata.version('crossfade')}",
        summary.source,
        summary.input,
        Names.FILE if summary.named else Names.POSITIONS,
        summary.width,
        summary.profile,
    )


def write_profile(path: Path, file: ProfileFile) -> None:
    """Writes the file at once and whole.

    Raises:
        ProfileError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(encode(file) + b"\n")
        beside.replace(path)
    except OSError as error:
        raise ProfileError(f"{path} cannot be written: {error.strerror}") from error


def read_profile(path: Path) -> ProfileFile:
    """Reads the file.

    Raises:
        ProfileError: it cannot be read, is no profile, or was edited.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise ProfileError(f"{path} is too large for a profile; {_MAKE}")
    try:
        value = parse(data)
        version = value.get("format_version")
        if version != FORMAT_VERSION or isinstance(version, bool) or "profile" not in value:
            newer = isinstance(version, int) and version > FORMAT_VERSION
            refuse(
                "format_version",
                "is newer than this crossfade reads: upgrade it" if newer else f"must be {FORMAT_VERSION}",
            )
        return decode(ProfileFile, value)
    except FieldError as error:
        raise ProfileError(f"{path} is no profile: {error}; {_MAKE}") from error
