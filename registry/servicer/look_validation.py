"""What a recorded look must be: its counts are the evidence that everybody reads later, and no other will come."""

from typing import Final

from crossfade.common.v1 import analysis_pb2
from registry.servicer import validation
from registry.servicer.policy_validation import refuse
from services.common.telemetry import catalog
from services.common.telemetry.largest import largest

_SPREAD: Final = frozenset(one.name for one in vars(catalog).values() if isinstance(one, catalog.Metric) and one.spread)
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
    keys = message.keys
    for place, instance in enumerate(message.instances):
        for number, one in enumerate(instance.series):
            if not one.key:
                said: analysis_pb2.SeriesKey | analysis_pb2.SeriesCounts = one
            elif one.key <= len(keys):
                said = keys[one.key - 1]
            else:
                where = f"{field}.instances[{place}].series[{number}].key"
                raise refuse(where, f"is {one.key}; {field} has {len(keys)} keys")
            labels, found = len(said.labels), len(one.counts)
            if labels != found and (labels or said.metric in _LABELLED):
                where = f"{field}.instances[{place}].series[{number}].counts"
                raise refuse(where, f"are {found} for {labels} labels: there is one for each")
            most = largest(said.metric)
            if max(one.counts, default=0) > most:
                where = f"{field}.instances[{place}].series[{number}].counts"
                raise refuse(where, f"have {max(one.counts)}; no process counts beyond {most}")
