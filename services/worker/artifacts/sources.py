"""Where artifacts may come from: an address is a publisher's word, and the Worker goes there with its own rights."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from services.worker.domain import LoadError

SCHEMES: Final = frozenset({"file", "s3", "gs", "gcs", "az", "abfs", "http", "https"})
"""The schemes that Workers read."""

_OF_AZURE: Final = frozenset({"az", "abfs"})


def folder_of(uri: str) -> str:
    """The folder that an artifact's address names, without a slash at the end.

    Raises:
        LoadError: it could lead elsewhere than it says, or is of a scheme that Workers do not read.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise LoadError(f"its address is none: {error}") from error
    # fsspec chains file systems at "::", which would read through a scheme that is not allowed.
    if parts.scheme not in SCHEMES or "::" in uri:
        raise LoadError(
            f"its address {uri!r} is not one that Workers read; publish it under {', '.join(sorted(SCHEMES))}"
        )
    # Azure's addresses name the container there: abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH.
    named = None if parts.scheme in _OF_AZURE else parts.username
    if named is not None or parts.password is not None:
        # It is stored, shown and logged; and this one is not repeated.
        raise LoadError(
            "its address holds a user's name or password; publish it without, and give the Workers credentials of "
            "their own"
        )
    # Behind either, the names of the artifact's files would be no part of the path.
    if parts.scheme != "file" and ("?" in uri or "#" in uri):
        raise LoadError(f"its address {uri!r} holds a query or a fragment; publish a folder's address")
    return uri.rstrip("/")


def check_source(uri: str, allowed: Sequence[str]) -> None:
    """Refuses an address that lies under none of those that this Worker reads.

    Args:
        uri: the artifact's.
        allowed: addresses of folders, as in `s3://models` or `https://artifacts.example/prod`; none: any address.

    Raises:
        LoadError: it does not, or it is no address of an artifact.
    """
    folder = folder_of(uri)
    if ".." in unquote(urlsplit(uri).path).split("/"):
        raise LoadError(f"its address {uri!r} leads out of its own folder; publish it without '..'")
    if allowed and not any(f"{folder}/".startswith(f"{one.rstrip('/')}/") for one in allowed):
        raise LoadError(
            f"its address {uri!r} lies under none of those that this Worker reads ({', '.join(allowed)}); publish it "
            "there, or add its folder to CROSSFADE_ARTIFACT_SOURCES"
        )
