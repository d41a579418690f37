"""Addresses of artifacts: stored, shown, logged and never forgotten, so that they may hold no secret."""

from typing import Final
from urllib.parse import urlsplit

_OF_AZURE: Final = frozenset({"az", "abfs"})
"""Their addresses name a container where others name a user: abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH."""


def check_address(uri: str) -> None:
    """Checks that an artifact's address holds no credentials, as users, passwords and signed queries are.

    Raises:
        ValueError: it does, or it is no address. The message tells what to do, and repeats nothing of the address.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        # What Python says of it quotes a part, which may be the password.
        raise ValueError("is none: write SCHEME://HOST/FOLDER") from None
    # File systems are chained by "::", and then each part has a user of its own.
    chained = "::" in uri and "@" in uri
    named = None if parts.scheme in _OF_AZURE else parts.username
    if named is not None or parts.password is not None or chained:
        raise ValueError(
            "holds a user's name or password; publish it without, and give the Workers credentials of their own"
        )
    # A signed query is the usual form of a credential; and behind either mark the names of the artifact's files would
    # be no part of the path.
    if parts.scheme != "file" and ("?" in uri or "#" in uri):
        raise ValueError("holds a query or a fragment; publish a folder's address")
