"""What a recorded look must be: its counts are the evidence that everybody reads later, and no other will come."""

from collections.abc import Sequence
from typing import Final

from crossfade.common.v1 import analysis_pb2
from registry.servicer import validation
from registry.servicer.policy_validation import refuse
from services.common.telemetry import catalog
from services.common.telemetry.largest import largest

_SPREAD: Final = frozenset(one.name for one in catalog.declared(catalog) if one.spread)
_LABELLED: Final = _SPREAD | {catalog.FEEDBACK_COUNT.name}
"""Metrics of which each count has a label; rows that were labelled are recorded by their actual class."""


def analysis(message: analysis_pb2.Analysis) -> tuple[str, int]:
    """Checks a look; answers its rollout.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    name = validation.rollout_name("analysis.rollout", message.rollout)
    if message.sequence < 1:
        raise refuse("analysis.sequence", f"is {message.sequence}; the first look is 1, and each is one more")
    validation.not_negative("analysis.step", message.step)
    validation.not_negative("analysis.epoch", message.epoch)
    counts("analysis.window", message.window)
    counts("analysis.cursor", message.cursor)
    return name


def counts(field: str, message: analysis_pb2.Counts) -> None:
    """Checks that counts can be read.

    Raises:
        InvalidArgumentError: FIELD_INVALID, a series names a key that is not there, has another number of counts than
            of labels, or a number that no process can have counted.
    """
    for place, instance in enumerate(message.instances):
        for number, one in enumerate(instance.series):
            if wrong := _wrong(field, one, message.keys):
                part, complaint = wrong
                raise refuse(f"{field}.instances[{place}].series[{number}].{part}", complaint)


def _wrong(
    field: str, one: analysis_pb2.SeriesCounts, keys: Sequence[analysis_pb2.SeriesKey]
) -> tuple[str, str] | None:
    """The part of a series that cannot be read, and why not; None: all can."""
    if one.key > len(keys):
        return "key", f"is {one.key}; {field} has {len(keys)} keys"
    said = keys[one.key - 1] if one.key else one
    labels, found = len(said.labels), len(one.counts)
    if labels != found and (labels or said.metric in _LABELLED):
        return "counts", f"are {found} for {labels} labels: there is one for each"
    highest, most = max(one.counts, default=0), largest(said.metric)
    return ("counts", f"have {highest}; no process counts beyond {most}") if highest > most else None
