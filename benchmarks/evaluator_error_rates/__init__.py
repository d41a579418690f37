"""How often the Evaluator errs, how soon it sees harm, and what a look costs: simulations of the product's own tests."""

from benchmarks.evaluator_error_rates.run import main

__all__ = ["main"]
