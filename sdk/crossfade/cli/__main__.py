"""The console script `crossfade`, and `python -m crossfade.cli`."""

import os
import signal
import sys

from crossfade.cli.narrow import tolerate

# ExitCode stands in a module that loads gRPC, which a Ctrl-C must be able to end.
_FAILED = 1
_INTERRUPTED = 130
_VERBOSITY = "GRPC_VERBOSITY"
_MISSING = "crossfade: the command needs more packages: pip install 'crossfade[cli]'"


def main() -> None:
    """Runs the command; failures are one line on stderr and an exit code."""
    # Whoever started it may have had it ignore Ctrl-C.
    obeys = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if obeys:
        # Nothing has been done yet, so that nothing has to be put right.
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    tolerate(sys.stdout, sys.stderr)
    # gRPC's core writes lines of its own, of handshakes that failed, beside what the command says of them. It reads
    # this as it is loaded; services that the command starts do not inherit it.
    chosen = _VERBOSITY in os.environ
    os.environ.setdefault(_VERBOSITY, "NONE")
    try:
        from crossfade.cli.app import build
    except ImportError as error:
        sys.stderr.write(f"{_MISSING} ({error})\n")
        sys.exit(_FAILED)
    if not chosen:
        del os.environ[_VERBOSITY]
    command = build()
    if obeys:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command(prog_name="crossfade")


if __name__ == "__main__":
    main()
