"""The list of commands in the help, in groups that follow the user's way."""

from typing import Any, Final

from crossfade.cli.ending import Commands

GROUPS: Final = {
    "Run locally": ("up",),
    "Package and publish": ("profile", "package", "sign", "policy", "publish", "start", "try"),
    "Call": ("predict", "feedback"),
    "Watch and decide": (
        *("status", "monitor", "approve", "advance", "pause", "resume", "promote", "rollback", "abort"),
        *("undo", "withdraw"),
    ),
    "Ask": ("explain", "models", "versions", "rollouts", "events", "history", "route", "forecast", "replay"),
    "Administer": ("describe", "segment", "instances", "webhooks", "certs", "registry"),
}
"""Commands by what they are for, in the order in which they are listed."""
_AROUND: Final = 6
"""Columns of a line that are neither the name's nor the help's."""


class GroupedCommands(Commands):
    """The command, whose help has a list per group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the lists, all of the same columns."""
        del ctx
        width = max(map(len, self.commands))
        for title, names in GROUPS.items():
            known = [(name, self.commands[name]) for name in names if name in self.commands]
            rows = [
                (name.ljust(width), one.get_short_help_str(formatter.width - _AROUND - width)) for name, one in known
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
