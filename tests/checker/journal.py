"""What a client has asked for and been told: the other half of the evidence, beside the ledger and the tables."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SHORTEST_SECONDS: Final = 3600
_MOST: Final = 100_000
"""Operations of one client."""


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
        marker: a word by which what the operation did is found, and nothing else.
        began: when it was sent first, by the one clock of all clients.
        ended: when its client knew what it knows.
        told: how it ended; REFUSED only if no attempt before it may have been carried out.
        code: of the refusal.
        times: how often it is found if it was carried out; 0: by the etag that it rests on, nothing was to be done.
        event: number of its event, where the answer tells it and nothing else does.
    """

    model: str
    kind: str
    marker: str
    began: float
    ended: float
    told: Told
    code: str = ""
    times: int = 1
    event: int = 0

    def __str__(self) -> str:
        return f"{self.kind} of {self.model} ({self.marker})"


def marker(client: int, count: int) -> str:
    """A word for one operation, that can be a version's id, too."""
    return f"op-{client}-{count}"


def seconds_of(word: str) -> int:
    """A length of time that says the marker, for what takes no word: a plan's period, a monitor's past."""
    _, client, count = word.split("-")
    return _SHORTEST_SECONDS + int(client) * _MOST + int(count)


def marker_of(seconds: float) -> str:
    """The marker that a length of time says."""
    return marker(*divmod(round(seconds) - _SHORTEST_SECONDS, _MOST))
