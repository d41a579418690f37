"""Which of the slices of labels are still worth keeping, in what is watched of a lane."""

from dataclasses import replace

from evaluator.evidence.ledger import Ledger
from evaluator.window.arms import SliceKey
from evaluator.window.labels import Labels
from services.common.kept_slices import MOST_SLICES, ROOM, room_of
from services.common.telemetry import catalog


def recent(ledger: Ledger, least: int) -> Ledger:
    """The ledger without slices whose labels no Router has room for any more; it keeps `least` of them at least.

    How late labels come is not known before they have come. One that finds its slice gone counts nowhere, and those of
    wrong answers are often the late ones: the past would be better than the version is.
    """
    keys: set[SliceKey] = set()
    taken = 0
    for key in sorted(ledger.slices, reverse=True):
        taken += _least_room(ledger.slices[key].test)
        if len(keys) >= least and (taken > ROOM or len(keys) >= MOST_SLICES):
            break
        keys.add(key)
    return replace(
        ledger,
        slices={key: counts for key, counts in ledger.slices.items() if key in keys},
        fed={key: since for key, since in ledger.fed.items() if key in keys},
        aged_taken={key: pair for key, pair in ledger.aged_taken.items() if key in keys},
    )


def _least_room(labels: Labels) -> int:
    """The room that a slice's labels take in a Router at least: which classes they are of is not kept here."""
    if any(labels.errors):
        return room_of(catalog.FEEDBACK_ERROR)
    return bool(labels.wrong) + (labels.rows > labels.wrong)
