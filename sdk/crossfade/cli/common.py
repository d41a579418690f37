"""What can be said before every command or after it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crossfade.cli.errors import UsageError
from crossfade.connection import checked_address


@dataclass(frozen=True, slots=True)
class Options:
    """What can be said before a command or after it.

    Attributes:
        registry: the Registry's host:port.
        router: a Router's host:port.
        evaluator: an Evaluator's host:port.
        user: the name that a local trial writes into its events; empty: the login name.
        json: machine-readable output.
        no_color: no colours, whatever the terminal can.
        request_id: what a command that changes something said of its request when it got no answer; empty: it is said
            for the first time.
    """

    registry: str = "localhost:8400"
    router: str = "localhost:8500"
    evaluator: str = "localhost:8700"
    user: str = ""
    json: bool = False
    no_color: bool = False
    request_id: str = ""

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "Options":
        """The defaults, but for what CROSSFADE_REGISTRY, _ROUTER, _EVALUATOR and _USER say."""
        names = ("registry", "router", "evaluator", "user")
        return Options().changed({name: environment.get(f"CROSSFADE_{name.upper()}") or None for name in names})

    def changed(self, given: dict[str, Any]) -> "Options":
        """These, but for those that were given."""
        return replace(self, **{name: value for name, value in given.items() if value not in (None, False)})


def address(value: str, option: str) -> str:
    """Answers a value that can be host:port.

    Raises:
        UsageError: it cannot.
    """
    try:
        return checked_address(value, "localhost:8400")
    except ValueError as error:
        raise UsageError(f"--{option} {error}") from error
