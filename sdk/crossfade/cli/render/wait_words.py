"""What a look says a gate waits for, in words that can stand beside the gate's figures. Pure."""

from typing import Final

from crossfade.common.v1.analysis_pb2 import GateReport

_OF_CLASS: Final = "labels of rows that are "
"""So begins what a gate on F1 or precision waits for that has seen too few rows of its class."""
_TO_BE_SAFE: Final = "labels that can show it to be safe, in this step, of rows that are "
_FEWER: Final = (
    "(the figures above are of all labels that harm is judged by; to show it to be safe this step's alone count, of "
    "times of which enough answers have a label, and none before it is known how late labels come)"
)


def wait_words(said: str) -> str:
    """What is waited for, as people are told it.

    The Evaluator counts the labels of a class that have shown safety so far: `0 of v2's` may stand beside an F1 of many
    rows, which harm is judged by. Its words are recorded, and compared by replay, so that they are told apart here.

    Args:
        said: a gate's `waits_for`, or a look's reason.
    """
    return said.replace(_OF_CLASS, _TO_BE_SAFE)


def why_fewer(gate: GateReport) -> str:
    """Why what it waits for counts fewer labels than its figures; empty: it does not."""
    return _FEWER if gate.waits_for.startswith(_OF_CLASS) and gate.test.n else ""
