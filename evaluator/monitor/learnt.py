"""What a watch has learnt of a lane, as values of JSON and back; `checkpoint` has all the rest."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from evaluator.monitor.past import Past
from evaluator.monitor.peaks import Key, Moments, Peak
from evaluator.monitor.swings import Swings
from evaluator.monitor.watch import Watch
from evaluator.window.arms import BUCKETS
from evaluator.window.labels import ERROR_BUCKETS, VALUE_BUCKETS, Labels, OfClass
from services.common.policy.metrics import MetricKind

Learnt = tuple[Past, Swings, Swings, dict[Key, Peak]]
"""A watch's past, swings, value_swings and peaks."""


def dump_learnt(watch: Watch) -> dict[str, Any]:
    """Under the names that releases before this one read."""
    past = watch.past
    return {
        "past": {
            "attempts": past.attempts,
            "sizes": [[size, past.begun[size], _sparse(of)] for size, of in sorted(past.batches.items())],
            "labels": dump_labels(past.labels),
            "answers": dict(past.answers),
            "together": past.together,
            "values": _sparse(past.values),
        },
        "swings": _swings(watch.swings),
        "value_swings": {**_swings(watch.value_swings), "rows": watch.value_swings.rows},
        "peaks": [[*key, *astuple(peak)] for key, peak in watch.peaks.items()],
    }


def load_learnt(said: Any) -> Learnt:
    """What `dump_learnt` gave, of this release or of one before it.

    Raises:
        Exception: it is none of this form.
    """
    past = said["past"]
    return (
        Past(
            tuple(past["attempts"]),
            # Releases before this one wrote the batches of all sizes in one, which nothing can be held against.
            {size: _dense(of, BUCKETS) for size, _, of in past.get("sizes", ())},
            {size: begun for size, begun, _ in past.get("sizes", ())},
            load_labels(past["labels"]),
            past["answers"],
            # What releases before this one wrote has none of these.
            past.get("together", 0),
            _dense(past.get("values", ()), VALUE_BUCKETS),
        ),
        _swings_of(said.get("swings")),
        _swings_of(said.get("value_swings")),
        _peaks_of(said.get("peaks", ())),
    )


def dump_labels(labels: Labels) -> list[Any]:
    """Labels of one version."""
    errors = [_sparse(labels.errors)] if labels.errors else []
    return [labels.rows, labels.wrong, labels.classes, *errors]


def load_labels(said: Any) -> Labels:
    """What `dump_labels` gave."""
    rows, wrong, classes, *errors = said
    off = _dense(errors[0], ERROR_BUCKETS) if errors else ()
    return Labels(rows, wrong, tuple(OfClass(*each) for each in classes), off)


def _swings(swings: Swings) -> dict[str, Any]:
    return {
        "since": swings.since,
        "answers": dict(swings.counts),
        "together": swings.together,
        "lowest": dict(swings.lowest),
        "highest": dict(swings.highest),
    }


def _swings_of(said: Any) -> Swings:
    """Releases before this one wrote none of some."""
    if said is None:
        return Swings()
    counts = said["answers"]
    rows = said.get("rows", sum(counts.values()))
    return Swings(said["since"], counts, rows, said["together"], said["lowest"], said["highest"])


def _peaks_of(said: Any) -> dict[Key, Peak]:
    """Releases before this one wrote none; a release after this one may have watched more."""
    known = {metric.value for metric in MetricKind}
    return {
        (MetricKind(metric), size): Peak(since, Moments(*moments), stretches, tuple(map(tuple, highest)))
        for metric, size, since, moments, stretches, highest in said
        if metric in known
    }


def _sparse(counts: Sequence[int]) -> list[tuple[int, int]]:
    """The counts that are not 0, each behind its place: nearly all of a histogram's are."""
    return [(place, count) for place, count in enumerate(counts) if count]


def _dense(said: Any, size: int) -> tuple[int, ...]:
    counts = [0] * size
    for place, count in said:
        counts[place] = count
    return tuple(counts)
