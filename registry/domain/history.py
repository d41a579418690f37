"""What was production at a past moment, from the changes of its versions' states."""

from collections.abc import Iterable
from dataclasses import dataclass

from registry.domain.records import VersionInLane
from registry.domain.states import VersionState


@dataclass(frozen=True, slots=True)
class Moment:
    """A past moment: of a revision of the routes, or (when that is 0) by the clock, seconds since 1970."""

    time: float
    revision: int = 0


@dataclass(frozen=True, slots=True)
class StateChange:
    """A version came into a state, as the model's event of this number says (0: before there was a history)."""

    sequence: int
    version: str
    state: VersionState
    since: float


@dataclass(frozen=True, slots=True)
class PastLane:
    """A lane as it was.

    Attributes:
        stable_version: empty: none.
        stable_since: since when, seconds since 1970.
        rollout: number of its live rollout; 0: none.
        states: of its versions, those that changed last first.
    """

    segment: str
    stable_version: str
    stable_since: float | None
    rollout: int
    states: tuple[VersionInLane, ...]


def states_after(changes: Iterable[StateChange]) -> tuple[VersionInLane, ...]:
    """The states that versions were left in by changes, which come newest first."""
    found: dict[str, VersionInLane] = {}
    for change in changes:
        found.setdefault(change.version, VersionInLane(change.version, change.state, change.since))
    return tuple(found.values())
