"""The console script `crossfade`, and `python -m crossfade.cli`."""

import sys

from crossfade.cli.errors import ExitCode

_MISSING = "crossfade: the command needs more packages: pip install 'crossfade[cli]'"


def main() -> None:
    """Runs the command; failures are one line on stderr and an exit code."""
    try:
        from crossfade.cli.app import build
    except ImportError as error:
        sys.stderr.write(f"{_MISSING} ({error})\n")
        sys.exit(ExitCode.FAILED)
    build()(prog_name="crossfade")


if __name__ == "__main__":
    main()
