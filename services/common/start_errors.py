"""What keeps a process from starting, in one line that names the setting."""

from typing import Final

from pydantic import ValidationError

_PREFIX: Final = "Value error, "


def start_error(error: Exception) -> str:
    """The line for whoever starts it.

    Args:
        error: what was raised while the settings were read or the service was wired.
    """
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    # Its own text takes several lines, says what was given, which may be a secret, and points to pydantic's pages.
    return "; ".join(
        f"CROSSFADE_{'_'.join(map(str, one['loc'])).upper()}: {in_own_words(one['msg'])}"
        for one in error.errors(include_url=False, include_input=False)
    )


def in_own_words(message: str) -> str:
    """What a validator said, without what pydantic says before it."""
    return message.removeprefix(_PREFIX)
