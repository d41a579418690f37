"""Where artifacts may come from: an address is a publisher's word, and the Worker goes there with its own rights."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from crossfade.addresses import check_address
from services.worker.domain import LoadError

PACKAGES: Final[Mapping[str, str]] = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
"""What fsspec needs for a scheme; a Worker comes with that of HTTP alone."""
SCHEMES: Final = frozenset({"file", *PACKAGES})
"""The schemes that Workers read."""


def folder_of(uri: str) -> str:
    """The folder that an artifact's address names, without a slash at the end.

    Raises:
        LoadError: it could lead elsewhere than it says, or is of a scheme that Workers do not read.
    """
    try:
        check_address(uri)
    except ValueError as error:
        raise LoadError(f"its address {error}") from error
    scheme = urlsplit(uri).scheme
    # fsspec chains file systems at "::", which would read through a scheme that is not allowed.
    if scheme not in SCHEMES or "::" in uri:
        raise LoadError(
            f"its address {uri!r} is not one that Workers read; publish it under {', '.join(sorted(SCHEMES))}"
        )
    return uri.rstrip("/")


def check_source(uri: str, allowed: Sequence[str]) -> None:
    """Refuses an address that lies under none of those that this Worker reads.

    For good, as an untrusted signature: the operator has decided it, and neither a version's address nor what a Worker
    was started with changes while it waits.

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
