"""The policy file that `--policy` and `policy check` name."""

from pathlib import Path

from crossfade.cli.errors import CommandError, UsageError
from crossfade.policy_file import PolicyFile, PolicyFileError, PolicyUnreadError, load_policy


def given_policy(path: str | Path) -> PolicyFile:
    """What the file says.

    Raises:
        CommandError: it cannot be read.
        UsageError: it is no policy.
    """
    try:
        return load_policy(path)
    except PolicyUnreadError as error:
        raise CommandError(str(error)) from error
    except PolicyFileError as error:
        raise UsageError(str(error)) from error
