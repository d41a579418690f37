"""The help's list of commands."""

from itertools import chain

import typer
from typer.testing import CliRunner

from crossfade.cli.app import build
from crossfade.cli.grouped import GROUPS


def test_every_command_is_in_one_group_of_the_help() -> None:
    grouped = list(chain.from_iterable(GROUPS.values()))
    assert sorted(grouped) == sorted(typer.main.get_command(build()).commands)  # type: ignore[attr-defined]


def test_the_help_lists_the_groups_in_the_users_order() -> None:
    lines = CliRunner().invoke(build(), ["--help"]).stdout.splitlines()
    titles = [line.rstrip(":") for line in lines if line.rstrip(":") in GROUPS]
    assert titles == list(GROUPS)
    assert "Commands:" not in lines
    assert lines[lines.index("Run locally:") + 1].startswith("  up         Run all services")
    assert lines[lines.index("Watch and decide:") + 1].startswith("  status     Show versions")
