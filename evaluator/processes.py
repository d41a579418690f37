"""Which processes a look has to read: of hundreds, each model is served by a few."""

from collections.abc import Sequence

from evaluator.ports import ProcessView
from evaluator.window.counts import Counts, InstanceCounts
from evaluator.window.windows import GONE_US


def concerned(processes: Sequence[ProcessView], model: str, cursor: Counts, now: float) -> Sequence[ProcessView]:
    """Every Router, and the Workers that have anything to say of a model.

    To ask 200 Workers about each of 2,000 models takes longer than the looks are apart, and whether nine tenths of them
    answer says nothing of the two that serve the model. A Worker that has let its versions go keeps their counts for
    some time, and is asked for the last of them.

    Args:
        processes: those whose leases run.
        model: the model's id.
        cursor: the counts of the look before.
        now: seconds since 1970-01-01 UTC.
    """
    counted = {one.instance_id for one in cursor if _may_count(one, now)}
    return [
        process
        for process in processes
        if not process.worker or process.instance_id in counted or any(name == model for name, _ in process.served)
    ]


def _may_count(place: InstanceCounts, now: float) -> bool:
    return bool(place.series) and not place.forgotten and abs(now * 1e6 - place.read_us) <= GONE_US
