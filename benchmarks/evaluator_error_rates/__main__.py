"""Entry point of `python -m benchmarks.evaluator_error_rates`."""

import sys

from benchmarks.evaluator_error_rates.run import main

if __name__ == "__main__":
    main(sys.argv[1:])
