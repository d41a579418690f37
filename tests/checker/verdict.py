"""The proof: what clients were told, held against the ledger and the tables."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from crossfade.ledger import LedgerError, verify
from crossfade.registry.v1 import resources_pb2
from tests.checker.journal import Entry, Told
from tests.checker.replay import Replay, differences

Events = Sequence[resources_pb2.Event]


def find(
    models: Mapping[str, resources_pb2.Model], events: Mapping[str, Events], journal: Iterable[Entry]
) -> list[str]:
    """Everything that is against the rules; empty: nothing.

    Args:
        models: as they were when all had ended, by id.
        events: each model's whole ledger, oldest first.
        journal: of all clients.
    """
    journal = list(journal)
    found = []
    for name, model in models.items():
        ledger = events[name]
        try:
            verify(model, reversed(ledger))
        except LedgerError as error:
            found.append(f"{name}: {error}")
        replay = Replay(ledger)
        found += replay.found + differences(model, replay)
        found += _once(name, ledger, journal) + _real_time(name, ledger, journal) + _revisions(name, ledger)
    return found


def _once(model: str, ledger: Events, journal: Iterable[Entry]) -> list[str]:
    """Acknowledged: exactly once. Refused: never. Unknown: at most once."""
    seen = Counter(event.reason for event in ledger)
    found = []
    for entry in journal:
        if entry.model != model:
            continue
        times = seen[entry.marker]
        allowed = {Told.OK: (1, 1), Told.REFUSED: (0, 0), Told.UNKNOWN: (0, 1)}[entry.told]
        if not allowed[0] <= times <= allowed[1]:
            found.append(
                f"{entry.kind} of {model} ({entry.marker}) was {entry.told} and is {times} times in the ledger"
            )
    return found


def _real_time(model: str, ledger: Events, journal: Iterable[Entry]) -> list[str]:
    """What was acknowledged before another began is before it in the ledger, too."""
    place = {event.reason: event for event in ledger}
    done = [entry for entry in journal if entry.model == model and entry.told is Told.OK and entry.marker in place]
    found = []
    by_end = sorted(done, key=lambda entry: entry.ended)
    latest: resources_pb2.Event | None = None
    waiting = iter(by_end)
    following = next(waiting, None)
    for entry in sorted(done, key=lambda one: one.began):
        while following is not None and following.ended < entry.began:
            before = place[following.marker]
            if latest is None or before.sequence > latest.sequence:
                latest = before
            following = next(waiting, None)
        here = place[entry.marker]
        if latest is not None and (here.sequence <= latest.sequence or here.revision < latest.revision):
            found.append(
                f"{entry.kind} of {model} ({entry.marker}) began after event {latest.sequence} was acknowledged and "
                f"is event {here.sequence}, of revision {here.revision} against {latest.revision}"
            )
    return found


def _revisions(model: str, ledger: Events) -> list[str]:
    """Revisions never go back within a ledger."""
    return [
        f"event {later.sequence} of {model} has revision {later.revision}, the one before {earlier.revision}"
        for earlier, later in itertools.pairwise(ledger)
        if later.revision < earlier.revision
    ]
