"""How often the Evaluator errs, how soon it sees harm, what a look costs: the product's own tests, simulated."""

from benchmarks.evaluator_error_rates.run import main

__all__ = ["main"]
