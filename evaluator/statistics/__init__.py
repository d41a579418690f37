"""The Evaluator's statistics: tests that stay valid however often the data are looked at.

Every test is an *e-process*: a non-negative process whose expectation is at most 1 under its null at any
stopping time, so that it ever reaches 1/alpha with probability at most alpha (Ville's inequality). Every
state is immutable and every update is a pure function of the state and one look's counts: folding the same
windows under the same policy gives the same floats on the same build.

- `rates`: two rates (errors, accuracy, one class against the rest...), harm and non-inferiority.
- `runtime`: two histograms of runtimes, harm and non-inferiority.
- `drift`: one arm's inputs against a reference profile, with the end of a drift.
- `power`: the requests that a test needs, and those that it still needs.
- `confusion`, `distances`, `intervals`: what a metric counts, and what people are shown.
"""
