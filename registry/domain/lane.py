"""A lane: what has a stable version, a history and at most one live rollout of its own."""

from dataclasses import dataclass
from typing import Final

from registry.domain.split import Split

IDLE_SLICE_SECONDS: Final = 300.0
"""Slice length without a rollout: a twelfth of a step's default period."""


HELD_UNDONE_SECONDS: Final = 3600.0
"""How long what was undone stays loaded."""
LONGEST_LOAD_SECONDS: Final = 7 * 86_400.0
"""For so long a version can be loaded by hand."""
MOST_LOADED: Final = 5
"""Versions that may be loaded by hand at a time: each takes its memory on every Worker."""


@dataclass(frozen=True, slots=True)
class Load:
    """A version that Workers hold without traffic until a moment, seconds since 1970."""

    version: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """(model, segment) and what holds there.

    Attributes:
        stable_version: empty: none yet.
        stable_since: seconds since 1970.
        stable_seen: False: it is the lane's first version, and has been ready nowhere yet; what is ready replaces it.
        previous_version: the stable version before it; empty: none.
        handover_version: the old stable version while it still carries what the new one's Workers cannot; else empty.
        handover_offset: first bucket of the new version's range meanwhile.
        live: number of the live rollout; 0: none.
        queued: number of the rollout behind it; 0: none.
        epoch: number of the split in force.
        slice_seconds: length of the epoch's slices, fixed at its beginning: a twelfth of the step's period.
        split: the split in force.
        next_offset: end of the last rollout's range: first bucket of the next one's.
        loaded: versions that Workers hold for pinned calls alone.
        removed: the segment has no lane any more; what is known of its versions stays.
        etag: changes with its versions' states and its rollouts' coming and going, never with readiness.
    """

    model: str
    segment: str
    stable_version: str
    stable_since: float | None
    stable_seen: bool
    previous_version: str
    handover_version: str
    handover_offset: int
    live: int
    queued: int
    epoch: int
    slice_seconds: float
    split: Split
    next_offset: int
    loaded: tuple[Load, ...]
    etag: str
    removed: bool = False


def empty_lane(model: str, segment: str, etag: str) -> Lane:
    """A lane to which nothing was published yet."""
    return Lane(
        model=model,
        segment=segment,
        stable_version="",
        stable_since=None,
        stable_seen=False,
        previous_version="",
        handover_version="",
        handover_offset=0,
        live=0,
        queued=0,
        epoch=0,
        slice_seconds=IDLE_SLICE_SECONDS,
        split=Split(),
        next_offset=0,
        loaded=(),
        etag=etag,
    )
