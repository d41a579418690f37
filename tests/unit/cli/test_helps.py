"""The helps of all commands, as they are read on a terminal of 80 columns."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from crossfade.cli.app import build

EXTENSIONS = (("up",), ("registry", "migrate"))
"""Commands whose options another package has."""


def paths(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """A command and all below it."""
    yield before
    for name, one in getattr(command, "commands", {}).items():
        yield from paths(one, (*before, name))


COMMANDS = sorted({*paths(typer.main.get_command(build())), *EXTENSIONS})


def lines(path: tuple[str, ...]) -> list[str]:
    result = CliRunner().invoke(build(), [*path, "-h"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_takes(path: tuple[str, ...]) -> None:
    """Its type alone, `<str>`, says nothing of it."""
    assert [line for line in lines(path) if line.startswith("  -") and "<" in line.partition("   ")[0]] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_what_a_command_does_is_said_in_a_line_of_the_list(path: tuple[str, ...]) -> None:
    assert [line for line in lines(path) if line.startswith("  ") and line.endswith("...")] == []
