"""Who is told of what, and when it is tried again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from registry.domain.ledger import Event
from registry.domain.monitors import ENDED, RAISED

OUTCOMES: Final = frozenset(
    {"ROLLOUT_PROMOTED", "ROLLOUT_ROLLED_BACK", "ROLLOUT_INCONCLUSIVE", "ROLLOUT_CANCELLED", "LANE_UNDONE"}
)
ALERTS: Final = frozenset({"ROLLOUT_PAUSED", RAISED, ENDED})
DEFAULT_TYPES: Final = OUTCOMES | ALERTS
"""Types of events that a webhook is told of unless it says otherwise: outcomes, and alerts."""
TURN_SECONDS: Final = 30.0
"""More than a request (12 s) and the transactions around it take: then it is another replica's turn."""
REFUSALS: Final = 5
"""An event that was refused so often holds up the later ones of its model no longer."""
_FIRST_SECONDS: Final = 5.0
LONGEST_SECONDS: Final = 3600.0
"""No pause of a webhook lasts longer."""
LONGEST_REFUSED_SECONDS: Final = 86_400.0
"""A receiver that refuses what it is sent may have thousands of events to refuse, each of them again and again."""


class Form(StrEnum):
    """How a webhook's request is written."""

    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody to be told.

    Attributes:
        name: unique among the webhooks.
        url: where requests are posted; it may be a secret by itself.
        form: how they are written.
        secret: signs them; empty: they are not signed.
        models: ids of the models that it is told of; empty: all.
        types: of the events that it is told of.
    """

    name: str
    url: str
    form: Form
    secret: bytes
    models: frozenset[str]
    types: frozenset[str]

    def wants(self, event: Event) -> bool:
        """Whether it is to be told of an event."""
        return event.draft.type in self.types and (not self.models or event.model in self.models)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a webhook has yet to be told of.

    Attributes:
        webhook: its name.
        event: the serialized crossfade.registry.v1.Event.
        created: when it happened, seconds since 1970.
        attempts: how often it was tried.
        refused: how often of these the receiver has answered that it does not want this one.
        due: before when it is not tried, seconds since 1970 by the database's clock.
        error: why the latest attempt failed; empty: there was none.
    """

    model: str
    sequence: int
    webhook: str
    event: bytes
    created: float
    attempts: int
    refused: int
    due: float
    error: str

    def failed(self, error: str) -> "Delivery":
        """After one attempt more, which the receiver did not answer, or not to the event itself."""
        return replace(self, attempts=self.attempts + 1, error=error)

    def refused_by(self, error: str) -> "Delivery":
        """After one attempt more, to which the receiver said that it does not want this event."""
        return replace(self.failed(error), refused=self.refused + 1)


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to tell a webhook something, which one replica has at a time.

    Attributes:
        delivery: what it is to be told.
        failures: how many attempts in a row failed, of whatever event, unless it was refused.
        until: when it ends by itself, seconds since 1970 by the database's clock.
    """

    delivery: Delivery
    failures: int
    until: float


def pause_seconds(failures: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds until the next attempt after so many that failed: doubled from 5 s to 1 h, with jitter of a half."""
    return _pause(failures, LONGEST_SECONDS, uniform)


def refused_seconds(refusals: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds until the next attempt after so many that were refused: doubled from 5 s to 1 d, jitter of a half."""
    return _pause(refusals, LONGEST_REFUSED_SECONDS, uniform)


def _pause(times: int, longest: float, uniform: Callable[[float, float], float]) -> float:
    high = min(longest, _FIRST_SECONDS * 2.0 ** min(times - 1, 20))
    return uniform(high / 2, high)
