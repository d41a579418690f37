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
        self._opener = urllib.request.build_opener(_NoRedirect())

    def post(self, url: str, request: Request) -> None:
        """Posts; answers when it was taken (2xx).

        Raises:
            SendError: it was not.
        """
        headers = {"user-agent": "crossfade-registry", **request.headers}
        made = urllib.request.Request(url, data=request.body, headers=headers, method="POST")  # noqa: S310 - http or https only, by the file's rules
        try:
            with self._opener.open(made, timeout=self._timeout) as response:
                response.read(_READ_BYTES)
        except urllib.error.HTTPError as error:
            said = error.read(_READ_BYTES).decode("utf-8", "replace").strip().partition("\n")[0]
            raise SendError(f"HTTP {error.code}: {said}" if said else f"HTTP {error.code}") from error
        except urllib.error.URLError as error:
            raise SendError(f"no connection: {error.reason}") from error
        except TimeoutError as error:
            raise SendError(f"no answer within {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SendError(f"{type(error).__name__}: {error}") from error
