"""Whether a receiver's words give away where it listens: a webhook's path and query may be its secret."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, unquote_plus

_SHORTEST: Final = 6
"""Characters of a path's or a query's part that may be a secret: shorter ones are words that anybody says."""
_SHORTEST_END: Final = 3
"""Characters that a text which is cut off ends with, and a secret begins with."""
_DECODED: Final = 2
"""How often what was quoted may have been quoted again."""


def reveals(text: str, url: SplitResult, *, whole: bool) -> bool:
    """Whether a text says a part of a URL that may be secret, as it stands in there or decoded.

    Args:
        text: what the receiver said.
        url: where it listens.
        whole: the text ends there; otherwise a secret may go on after it.
    """
    forms = set(_forms(text))
    for secret in {form for one in _secrets(url) for form in _forms(one)}:
        ends = () if whole else range(_SHORTEST_END, len(secret))
        if any(secret in form or any(form.endswith(secret[:end]) for end in ends) for form in forms):
            return True
    return False


def _secrets(url: SplitResult) -> Iterator[str]:
    target = f"{url.path}?{url.query}" if url.query else url.path
    yield from (one for one in (target, url.path, url.query) if one.strip("/"))
    pairs = [pair.partition("=") for pair in url.query.replace(";", "&").split("&")]
    values = [value if equals else key for key, equals, value in pairs]
    yield from (part for part in (*url.path.split("/"), *values) if len(unquote_plus(part)) >= _SHORTEST)


def _forms(text: str) -> Iterator[str]:
    """As it stands and decoded, with one case and without the backslashes that JSON may have before slashes."""
    for _ in range(_DECODED + 1):
        yield text.replace("\\", "").casefold()
        text = unquote_plus(text)
