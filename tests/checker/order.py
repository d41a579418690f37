"""Whether numbers agree with real time: what began after another had ended has the higher one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from crossfade.registry.v1 import resources_pb2
from tests.checker.journal import Entry, Told
from tests.checker.tables import Tables

Traces = Mapping[str, Sequence[resources_pb2.Event]]
"""The events of operations, by marker."""

_CHANGE_ROUTES = frozenset(
    {"CreateModel", "PromoteRollout", "RollbackRollout", "UndoLane", "SetSegment", "DeleteSegment"}
)
"""What always makes a revision of its own. An event of anything else may state the one that was there before."""


def disorder(journal: Iterable[Entry], traces: Traces, tables: Tables) -> list[str]:
    """Where the places of events within their model, revisions, or the numbers of looks are against real time."""
    placed: defaultdict[str, list[tuple[Entry, int]]] = defaultdict(list)
    revisions: list[tuple[Entry, int]] = []
    looks = {marker: (key, number) for key, of_one in tables.looks.items() for number, marker in of_one}
    for entry in journal:
        if entry.marker in looks:
            (model, rollout), number = looks[entry.marker]
            placed[f"look of rollout {rollout} of {model}"].append((entry, number))
        for event in traces.get(entry.marker, ()):
            placed[f"event of {event.model}"].append((entry, event.sequence))
            revisions.append((entry, event.revision))
    found = [one for what, those in placed.items() for one in out_of_order(what, those)]
    return found + out_of_order("revision", revisions, alone=_CHANGE_ROUTES)


def out_of_order(what: str, placed: Iterable[tuple[Entry, int]], alone: frozenset[str] | None = None) -> list[str]:
    """What began after an operation with the same number, or a higher one, was acknowledged.

    Args:
        what: is numbered.
        placed: operations and their numbers.
        alone: kinds of operations of which each has a number of its own; None: all.
    """
    placed = list(placed)
    found = []
    acknowledged = sorted((one for one in placed if one[0].told is Told.OK), key=lambda one: one[0].ended)
    waiting = iter(acknowledged)
    following = next(waiting, None)
    latest: tuple[Entry, int] | None = None
    for entry, number in sorted(placed, key=lambda one: one[0].began):
        while following is not None and following[0].ended < entry.began:
            if latest is None or following[1] > latest[1]:
                latest = following
            following = next(waiting, None)
        lowest = 0 if latest is None else latest[1] + (alone is None or entry.kind in alone)
        if latest is not None and number < lowest:
            found.append(
                f"{entry} began after {latest[0]} was acknowledged, and is {what} {number} against {latest[1]}"
            )
    once: dict[int, Entry] = {}
    for entry, number in placed:
        if alone is None or entry.kind in alone:
            other = once.setdefault(number, entry)
            if other is not entry:
                found.append(f"{entry} and {other} are both {what} {number}")
    return found
