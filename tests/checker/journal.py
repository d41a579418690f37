"""What a client has asked for and been told: the other half of the evidence, beside the ledger."""

from dataclasses import dataclass
from enum import StrEnum


class Told(StrEnum):
    """How an operation ended, as far as its client knows."""

    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation.

    Attributes:
        model: the model's id.
        kind: the RPC.
        marker: a word that stands in the reason of the operation's own event, and nowhere else.
        began: when it was sent first, by the one clock of all clients.
        ended: when its client knew what it knows.
        told: how it ended; REFUSED only if no attempt before it may have been carried out.
        code: of the refusal.
    """

    model: str
    kind: str
    marker: str
    began: float
    ended: float
    told: Told
    code: str = ""
