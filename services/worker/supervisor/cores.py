"""Which processors a version's processes run on, where versions are not to share them, and each of its front-ends."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

_FEW: Final = 2
"""Where there are more, two versions that are called over a connection each may have both front-ends on one processor
and leave the others idle."""


def share(taken: Iterable[Collection[int]], cores: Collection[int], wanted: int) -> frozenset[int]:
    """The processors for one more version: of all those that the fewest others have, so that each gets its own.

    Args:
        taken: the processors of each version that runs.
        cores: those of the machine that the Worker may use.
        wanted: how many a version gets; 0: all, together with the others.
    """
    users = Counter(core for one in taken for core in one)
    return frozenset(sorted(cores, key=lambda core: (users[core], core))[:wanted] if wanted else cores)


def pins(
    taken: Iterable[Collection[int]], cores: Collection[int], front_ends: int, wanted: bool | None
) -> tuple[int, ...]:
    """The processor that each front-end of one more version stays on; empty: they go wherever the version runs.

    Args:
        taken: the processors that the front-ends of each version stay on.
        cores: those that the version runs on.
        front_ends: how many it has.
        wanted: whether they stay; None: on two processors, where there is one for each of them.
    """
    if wanted is None:
        wanted = 1 < len(cores) <= min(front_ends, _FEW)
    own = sorted(share(taken, cores, front_ends)) if wanted else []
    return tuple(own[number % len(own)] for number in range(front_ends)) if own else ()
