"""Which entries of a list are wanted; what is empty or None leaves nothing out.

Their words have one order, for page tokens hold for one filter, whichever process reads them.
"""

from dataclasses import dataclass

from registry.domain.states import RolloutState, VersionState


@dataclass(frozen=True, slots=True)
class VersionFilter:
    """Versions in the lane of a segment, and in one of these states in it (in any lane, when the segment is None)."""

    segment: str | None = None
    states: tuple[VersionState, ...] = ()


@dataclass(frozen=True, slots=True)
class RolloutFilter:
    """Rollouts in a lane, of a version, in one of these states; `live`: only those that have not ended."""

    segment: str | None = None
    version: str = ""
    states: tuple[RolloutState, ...] = ()
    live: bool = False


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events of a rollout, in a lane, about a version, of these types, from `start` to before `end` (s since 1970)."""

    rollout: int = 0
    segment: str | None = None
    version: str = ""
    types: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
