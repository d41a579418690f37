"""Posting over HTTP."""

import http.client
import urllib.error
import urllib.request
from typing import Any, Final

from registry.webhooks.forms import Request

_TIMEOUT_SECONDS: Final = 10.0
_READ_BYTES: Final = 200


class SendError(Exception):
    """It was not taken; the message says why, without the URL, which may be a secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A receiver that has moved is to be named anew: what is signed is for nobody else."""

    def redirect_request(self, *_: Any) -> None:
        return None


class HttpSender:
    """Posts requests; blocks while it does."""

    def __init__(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._timeout = timeout_seconds
        # No proxy of the environment: an address on the inside is reached directly.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def post(self, url: str, request: Request) -> None:
        """Posts; answers when it was taken (2xx).

        Raises:
            SendError: it was not.
        """
        headers = {"user-agent": "crossfade-registry", **request.headers}
        made = urllib.request.Request(url, data=request.body, headers=headers, method="POST")  # noqa: S310 - http or https only, by the file's rules
        try:
            self._opener.open(made, timeout=self._timeout).close()
        except urllib.error.HTTPError as error:
            raise SendError(f"HTTP {error.code}{_said(error)}") from error
        except urllib.error.URLError as error:
            raise SendError(f"no connection: {error.reason}") from error
        except TimeoutError as error:
            raise SendError(f"no answer within {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Not its text, in which the URL may stand.
            raise SendError(f"it could not be sent ({type(error).__name__})") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The first line of what an error's answer says, as far as it comes at once."""
    try:
        text = error.read1(_READ_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return ""
    line = "".join(character for character in text.strip().partition("\n")[0] if character.isprintable())
    return f": {line}" if line else ""
