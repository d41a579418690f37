"""Which processors a version's processes run on, where versions are not to share them."""

from collections import Counter
from collections.abc import Collection, Iterable


def share(taken: Iterable[Collection[int]], cores: Collection[int], wanted: int) -> frozenset[int]:
    """The processors for one more version: of all those that the fewest others have, so that each gets its own.

    Args:
        taken: the processors of each version that runs.
        cores: those of the machine that the Worker may use.
        wanted: how many a version gets; 0: all, together with the others.
    """
    users = Counter(core for one in taken for core in one)
    return frozenset(sorted(cores, key=lambda core: (users[core], core))[:wanted] if wanted else cores)
