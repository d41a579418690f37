"""Calls that are made again when no answer comes, and commands that are said again: each change is made once."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc

from crossfade import names
from crossfade.cli.errors import CommandError, ExitCode, Facts, UsageError
from crossfade.errors import details_of

ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.2
_NO_ANSWER: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_NOT_SENT: Final = (
    "connections to all backends failing",
    "failed to connect to all addresses",
    "errors resolving",
    "DNS resolution failed",
)
"""How gRPC's own words begin when a call has not left this machine."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a command that is said again says as it did before, so that the Registry knows the request.

    Attributes:
        request_id: its UUID; empty: the command is said for the first time.
        etag: of what it is to change, as it was read then; empty: it rested on none.
    """

    request_id: str = ""
    etag: str = ""

    @staticmethod
    def parse(value: str) -> "Repeat":
        """Reads `--request-id UUID[:ETAG]`.

        Raises:
            UsageError: it begins with no UUID.
        """
        said, _, etag = value.partition(":")
        try:
            return Repeat(str(uuid.UUID(said)) if value else "", etag)
        except ValueError as error:
            raise UsageError(
                f"--request-id {value!r} is no UUID: give what the command said whose outcome is not known"
            ) from error

    def fill(self, request: Any) -> None:
        """Gives a request that changes something what it had before."""
        if self.request_id and _has(request, "request_id"):
            request.request_id = self.request_id
            if self.etag and _has(request, "etag"):
                request.etag = self.etag


def no_answer(error: grpc.RpcError) -> bool:
    """Whether a call failed so that the same one may be answered now."""
    return details_of(error).code in _NO_ANSWER


def was_sent(error: grpc.RpcError) -> bool:
    """Whether a call that got no answer may have been carried out."""
    return not details_of(error).message.startswith(_NOT_SENT)


def pauses() -> Iterator[float]:
    """Seconds between attempts: full jitter, its bound doubling."""
    for attempt in range(ATTEMPTS - 1):
        yield random.uniform(0.0, _PAUSE_SECONDS * 2.0**attempt)  # noqa: S311 - spreads the callers


def given_up(error: CommandError, request: Any, *, sent: bool) -> CommandError:
    """The error of a call that got no answer, with what became of the change that it asked for.

    Args:
        error: what the last attempt came to.
        request: the call's.
        sent: one of the attempts may have been carried out.
    """
    if not _has(request, "request_id"):
        return error
    said = error.message.rstrip(".")
    if not sent:
        return CommandError(f"{said}. Nothing was changed", error.exit_code, error.facts, error.hint)
    again = f"--request-id {said_before(request)}"
    try:
        _, number = names.parse_rollout(request.name if _has(request, "name") else "")
    except ValueError:
        pass
    else:
        # By then another one may be the lane's live one.
        again = f"--rollout {number} {again}"
    hint = f"the same command with {again} makes it if it was not, and tells what it did if it was"
    return CommandError(f"{said}. The change may have been made: {hint}", error.exit_code, error.facts, hint)


def interrupted(request: Any) -> BaseException:
    """What ends the command when the user has ended a call: of a change with how it is said again."""
    if not _has(request, "request_id"):
        return KeyboardInterrupt()
    facts = Facts(request_id=said_before(request))
    error = CommandError("interrupted before an answer came", ExitCode.INTERRUPTED, facts)
    return given_up(error, request, sent=True)


def said_before(request: Any) -> str:
    """What `--request-id` takes, so that the same command makes the same request; empty: it changes nothing."""
    if not _has(request, "request_id"):
        return ""
    etag = request.etag if _has(request, "etag") else ""
    return f"{request.request_id}:{etag}" if etag else str(request.request_id)


def _has(request: Any, field: str) -> bool:
    return field in request.DESCRIPTOR.fields_by_name
