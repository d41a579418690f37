"""The routing table: immutable, with a revision; every door of the Router reads it, none changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from router.split import ArmName, Split

PIN_STABLE: Final = "@stable"
PIN_TEST: Final = "@test"
PIN_PREVIOUS: Final = "@previous"
Key = tuple[str, str]
"""Of a lane: model and segment."""
ModelVersion = tuple[str, str]
"""Model and version."""

KEPT_SECONDS: Final = 300.0
"""How long addresses without a lease are kept while the Registry is heard: Workers report three times in 15 s."""


@dataclass(frozen=True, slots=True)
class Target:
    """A version as one kind of traffic reaches it.

    Attributes:
        version: the version's id.
        traffic: `live`, `control`, `pinned`, …: what the Worker and the metrics are told.
        addresses: host:port of each process that serves it.
    """

    version: str
    traffic: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """The routes of one lane.

    Attributes:
        model: the model's id.
        segment: the segment; empty: the default one.
        epoch: number of the split.
        sticky: requests with a key go by their key's bucket.
        split: who owns which buckets.
        arms: the arms that have a version; stable is missing in a lane without one.
        pins: LIVE addresses of every version that Workers hold.
        names: what `@stable`, `@test` and `@previous` mean here.
        classes: class names of every version that Workers hold.
        basis: stable's addresses before they became too few; see `keep_half`.
        kept_since: when they did, seconds of the monotonic clock; inf: they did not.
        shadow: what gets a copy of the requests in control's buckets; None: nothing does.
        watched: segments of callers that gates watch by themselves.
        failed: versions that no request may reach in this lane; of many, those that failed last.
    """

    model: str
    segment: str
    epoch: int
    sticky: bool
    split: Split
    arms: Mapping[ArmName, Target]
    pins: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    basis: tuple[str, ...] = ()
    kept_since: float = inf
    shadow: Target | None = None
    watched: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()

    def arm(self, bucket: int) -> tuple[ArmName, Target | None]:
        """Where the request of a bucket goes; an arm that nobody serves leaves its buckets to stable."""
        name = self.split.arm(bucket)
        target = self.arms.get(name)
        if target is None or not target.addresses:
            return ArmName.STABLE, self.arms.get(ArmName.STABLE)
        return name, target

    @property
    def stable(self) -> Target | None:
        """The stable arm."""
        return self.arms.get(ArmName.STABLE)

    @property
    def addresses(self) -> frozenset[str]:
        """Every process that its calls may go to."""
        found = (*(arm.addresses for arm in self.arms.values()), *self.pins.values())
        return frozenset(address for addresses in found for address in addresses)

    def has(self, version: str) -> bool:
        """Whether the version has an arm in it."""
        return any(target.version == version for target in self.arms.values())


@dataclass(frozen=True, slots=True)
class Table:
    """All lanes at one revision.

    Attributes:
        revision: the routes' revision.
        lanes: by model and segment.
        known: false before there was any table: which models there are is not known.
        held: class names of every (model, version) that some lane holds; left out: as the lanes say.
    """

    revision: int = 0
    lanes: Mapping[Key, Lane] = field(default_factory=dict)
    known: bool = True
    held: Mapping[ModelVersion, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Gathers what the lanes hold where that is left out."""
        if not self.held:
            found = {
                (lane.model, version): classes
                for lane in self.lanes.values()
                for version, classes in lane.classes.items()
            }
            object.__setattr__(self, "held", found)

    def lane(self, model: str, segment: str) -> Lane | None:
        """The lane of a segment; requests of a segment without a lane of its own belong to the default lane."""
        lane = self.lanes.get((model, segment))
        return lane if lane is not None else self.lanes.get((model, ""))

    def keeps_too_long(self, now: float, heard_since: float) -> bool:
        """Whether some lane's addresses were kept for long enough; see `is_enough`."""
        return any(is_enough(lane.kept_since, now, heard_since) for lane in self.lanes.values())

    def left_of(self, before: "Table") -> list[Lane]:
        """The lanes of a table before that are gone, or are others now."""
        return [lane for key, lane in before.lanes.items() if self.lanes.get(key) is not lane]

    def has(self, model: str, segment: str, version: str) -> bool:
        """Whether a lane has an arm of a version."""
        lane = self.lanes.get((model, segment))
        return lane is not None and lane.has(version)

    def classes(self, model: str, version: str) -> tuple[str, ...] | None:
        """The class names of a version that some lane holds; None: no lane does. Asked for each label."""
        return self.held.get((model, version))


def is_enough(kept_since: float, now: float, heard_since: float) -> bool:
    """Whether addresses without a lease were kept for so long that the Registry is to be believed.

    Args:
        kept_since: since when they are kept.
        now: seconds of the same monotonic clock.
        heard_since: since when the Registry has been heard without a break.
    """
    return now - max(kept_since, heard_since) >= KEPT_SECONDS


def keep_half(leased: tuple[str, ...], basis: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The stable version's addresses, but never fewer than half of those before on the word of leases alone.

    A Registry that lost sight of the Workers takes their leases away all at once, while they serve on. The addresses
    kept beyond the leases come last; an attempt that they refuse goes elsewhere.

    Args:
        leased: the addresses with a lease.
        basis: the addresses before they became too few.

    Returns:
        The addresses to use, and the basis for the next table.
    """
    missing = (len(basis) + 1) // 2 - len(leased)
    if missing <= 0:
        return leased, leased
    return leased + tuple(address for address in basis if address not in leased)[:missing], basis
