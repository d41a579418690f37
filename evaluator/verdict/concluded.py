"""What one look of a rollout concluded, as it is recorded."""

from dataclasses import dataclass

from evaluator.evidence.state import Look
from evaluator.verdict.decision import Action, Circumstances


@dataclass(frozen=True, slots=True)
class Concluded:
    """A recorded look and what it concluded.

    Attributes:
        look: its window.
        at: its circumstances; None: an older release did not record them.
        action: what it decided to do.
        gate: the gate that decided; empty: none alone.
        reason: why.
    """

    look: Look
    at: Circumstances | None
    action: Action
    gate: str
    reason: str
