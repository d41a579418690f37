"""Entry point of `python -m benchmarks.many_rollouts`."""

import sys

from benchmarks.many_rollouts.command import main

if __name__ == "__main__":
    main(sys.argv[1:])
