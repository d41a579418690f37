"""What ends a command, and with which exit code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import grpc

from crossfade.cli.field_words import in_options
from crossfade.errors import ErrorDetails, details_of
from crossfade.proxies import proxy_hint
from crossfade.tls_faults import tls_fault

_FIELD_INVALID: Final = "FIELD_INVALID"
_NOT_WRITTEN: Final = ("version.signature", "version.profile", "page_")
"""Fields of requests that nobody writes at the command line: what an artifact holds, and what pages go by."""


class ExitCode(IntEnum):
    """What a script reads."""

    DONE = 0
    FAILED = 1
    """Refused or failed."""
    USAGE = 2
    """Wrong usage."""
    NOTHING_ANSWERS = 3
    ROLLING_OUT = 10
    """`status --exit-code`: a rollout lives."""
    ROLLED_BACK = 11
    """`status --exit-code`: the latest rollout was rolled back."""
    INTERRUPTED = 130
    """Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a program is told of a failure besides its message.

    Attributes:
        code: the gRPC code's name: `FAILED_PRECONDITION`; empty: no call has failed.
        reason: the service's UPPER_SNAKE reason; empty: it came from no service of Crossfade.
        metadata: the service's facts.
        field: path of the request's field that is wrong; empty: no single one.
        request_id: what `--request-id` takes, where the call was to change something.
    """

    code: str = ""
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    request_id: str = ""


class CommandError(Exception):
    """A command cannot do what it was asked for.

    Args:
        message: what happened and what to do next.
        exit_code: what the process ends with.
        facts: what is told to programs.
        hint: the part of the message that says what to do next, where it can be told apart.
    """

    def __init__(
        self, message: str, exit_code: ExitCode = ExitCode.FAILED, facts: Facts | None = None, hint: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.facts = facts or Facts()
        self.hint = hint

    @property
    def reason(self) -> str:
        """The service's UPPER_SNAKE reason; empty: it came from no service."""
        return self.facts.reason

    def saying(self, message: str) -> "CommandError":
        """The same failure in other words."""
        return CommandError(message, self.exit_code, self.facts)


class UsageError(CommandError):
    """The arguments do not make sense."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.USAGE)


def refusal(message: str) -> CommandError:
    """What the packaging code refuses: wrong usage where it begins with the option that is wrong."""
    return UsageError(message) if message.startswith("--") else CommandError(message)


class NothingAnswersError(CommandError):
    """No service answers at an address.

    Args:
        address: host:port.
        service: "registry", "router" or "evaluator": names the option and the variable that set another address.
    """

    def __init__(self, address: str, service: str) -> None:
        hint = proxy_hint(address) or f"Is `crossfade up` running? {other_address(service)}"
        facts = Facts(grpc.StatusCode.UNAVAILABLE.name)
        super().__init__(f"nothing answers at {address}. {hint}", ExitCode.NOTHING_ANSWERS, facts, hint)


def other_address(service: str) -> str:
    """How another address is set."""
    return f"(--{service} or CROSSFADE_{service.upper()} set another address)"


def command_error(error: grpc.RpcError, address: str, service: str) -> CommandError:
    """What a failed call means to the person at the command line.

    Args:
        error: the call's failure.
        address: where it went.
        service: "registry", "router" or "evaluator".
    """
    details = details_of(error)
    if details.reason:
        code = ExitCode.USAGE if _as_written(details) else ExitCode.FAILED
        return CommandError(in_options(details.message), code, facts_of(details))
    if details.code is grpc.StatusCode.UNAVAILABLE:
        fault = tls_fault(details.message, address)
        if fault:
            return CommandError(fault, ExitCode.NOTHING_ANSWERS, facts_of(details))
        return NothingAnswersError(address, service)
    if details.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return too_late(address, service)
    if details.code is grpc.StatusCode.UNIMPLEMENTED:
        return no_such_service(address, service)
    said = f"{address} answered {details.code.name}: {details.message or 'no message'}"
    return CommandError(said, facts=facts_of(details))


def _as_written(details: ErrorDetails) -> bool:
    """Whether a service refuses an option's or an argument's value, whatever there is: as wrong as one that the command
    itself cannot read.
    """
    return details.reason == _FIELD_INVALID and not details.field.startswith(_NOT_WRITTEN)


def facts_of(details: ErrorDetails) -> Facts:
    """What a service says to programs."""
    return Facts(details.code.name, details.reason, details.metadata, details.field)


def too_late(address: str, service: str, limit: str = "") -> CommandError:
    """No answer came in time; `limit` is what the person has set as the time."""
    hint = f"Is it overloaded? {other_address(service)}"
    facts = Facts(grpc.StatusCode.DEADLINE_EXCEEDED.name)
    return CommandError(f"{address} did not answer in time{limit}. {hint}", ExitCode.NOTHING_ANSWERS, facts, hint)


def no_such_service(address: str, service: str) -> CommandError:
    """Something answers, and does not know the call."""
    return CommandError(
        f"what answers at {address} is no {service.capitalize()} of Crossfade, or one of another release "
        f"{other_address(service)}",
        facts=Facts(grpc.StatusCode.UNIMPLEMENTED.name),
    )
