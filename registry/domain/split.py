"""The split of a lane's requests: effective shares and the buckets they stand for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from registry.domain.serving import Placement, ready_workers

BUCKETS: Final = 10_000
"""Buckets of a lane; one is a basis point of its requests."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which versions get which shares, in basis points; an empty version has none. Adds up to 10,000 or to nothing.

    A test version without a share gets a copy of what control answers: a SHADOW step.
    """

    test_version: str = ""
    test_bps: int = 0
    control_version: str = ""
    control_bps: int = 0
    stable_version: str = ""
    stable_bps: int = 0

    @property
    def shadow_bps(self) -> int:
        """The share of the requests of which the test version gets a copy."""
        return self.control_bps if self.test_version and not self.test_bps else 0


def effective_share(wanted_bps: int, *, ready: int, stable_ready: int) -> int:
    """The share that ready Workers can carry: at most the one wanted, and 0 without a ready Worker."""
    if ready == 0:
        return 0
    return min(wanted_bps, BUCKETS * ready // max(stable_ready, 1), BUCKETS)


def trial_split(stable: str, test: str, wanted_bps: int, placements: Iterable[Placement]) -> Split:
    """The split while a rollout has traffic.

    Control gets as much as the test, as far as there is anything left.
    """
    placements = tuple(placements)
    share = effective_share(
        wanted_bps, ready=ready_workers(placements, test), stable_ready=ready_workers(placements, stable)
    )
    if share == 0:
        return whole_split(stable)
    control = min(share, BUCKETS - share)
    return Split(test, share, stable if control else "", control, stable, BUCKETS - share - control)


def shadow_split(stable: str, test: str, wanted_bps: int, placements: Iterable[Placement]) -> Split:
    """The split while the test version gets copies: of what control answers, so that both have the same requests."""
    live = trial_split(stable, test, wanted_bps, placements)
    if not live.test_bps:
        return live
    return Split(test, 0, stable, live.test_bps, stable, BUCKETS - live.test_bps)


def handover_split(stable: str, old: str, placements: Iterable[Placement]) -> Split:
    """The split after a promotion: the old stable version keeps what the new one's ready Workers cannot carry.

    The new version has the test arm's place until it carries everything, so that routers fall back to the old one.
    """
    placements = tuple(placements)
    old_ready = ready_workers(placements, old)
    share = effective_share(BUCKETS, ready=ready_workers(placements, stable), stable_ready=old_ready)
    if old_ready == 0 or share == BUCKETS:
        return whole_split(stable)
    return Split(stable if share else "", share, "", 0, old, BUCKETS - share)


def whole_split(stable: str) -> Split:
    """The stable version gets everything; with none, nobody gets anything."""
    return Split(stable_version=stable, stable_bps=BUCKETS if stable else 0)
