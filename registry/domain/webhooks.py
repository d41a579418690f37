"""Who is told of what, and when it is tried again."""

from collections.abc import Callable
from dataclasses import dataclass
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
_FIRST_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 3600.0


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
        due: when it is tried next.
        error: why the latest attempt failed; empty: there was none.
    """

    model: str
    sequence: int
    webhook: str
    event: bytes
    created: float
    attempts: int
    due: float
    error: str


def pause_seconds(attempts: int, uniform: Callable[[float, float], float]) -> float:
    """Seconds until the next attempt after so many: doubled from 5 s to 1 h, with jitter of a half."""
    longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempts - 1, 20))
    return uniform(longest / 2, longest)
