"""What is said of arms that get other inputs."""

from typing import Final

from evaluator import words
from evaluator.evidence.same_inputs import SameInputs
from evaluator.terms import Terms

_NAMED: Final = 3
"""Features that a sentence names."""


def broken(terms: Terms, same: SameInputs) -> str:
    """Why the rollout ends."""
    return (
        f"the split is broken: {_apart(terms, same)}, so what was counted is no evidence; see whether a gateway "
        "chooses a Router by what is in a request, a connection stays with one Router that has another table "
        "(crossfade instances), or callers reach Workers without a Router, and start the rollout again"
    )


def suspected(terms: Terms, same: SameInputs) -> str:
    """Why a version that has passed does not go on."""
    return f"{terms.test} has passed, but maybe by other inputs: {_apart(terms, same)}; it waits until that is known"


def _apart(terms: Terms, same: SameInputs) -> str:
    test, stable = same.rows
    unlike = same.unlike()
    named = ", ".join(f"{one.name} by {words.points(one.shift)}" for one in unlike[:_NAMED])
    more = f" and {words.many(len(unlike) - _NAMED, 'feature')} more" if len(unlike) > _NAMED else ""
    return (
        f"{terms.test} and {terms.stable} get other inputs ({named}{more}; {words.many(test, 'row')} of {terms.test} "
        f"and {words.count(stable)} of {terms.stable})"
    )
