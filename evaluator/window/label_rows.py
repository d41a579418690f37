"""What a window says of labels, and of numbers that callers reported, by slice of routing time."""

from collections.abc import Callable, Mapping, Sequence

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import (
    CALLER_FEEDBACK,
    CALLER_PREDICTIONS,
    COHORT_FEEDBACK,
    FEEDBACK,
    FEEDBACK_ERROR,
    FEEDBACK_VALUE,
    LATE,
    PREDICTIONS,
    SliceKey,
    added,
    parse_slice,
)
from evaluator.window.counts import Series
from evaluator.window.labels import ERROR_BUCKETS, NO_LABELS, VALUE_BUCKETS, Labels, OfClass, SliceCounts, add_slice
from services.common.telemetry import catalog


def slice_counts(counted: ArmCounts) -> dict[SliceKey, SliceCounts]:
    """Predictions and labels by slice, all processes together: a label's process is drawn by a hash, not by arm."""
    classes = counted.terms.classes

    def labels(one: Series, at: Mapping[str, str]) -> Labels:
        if one.metric == COHORT_FEEDBACK:
            return _by_cohort(one, at, "label")
        return _labels(one, at, classes) if one.metric == FEEDBACK else _numbers(one, ERROR_BUCKETS)

    return _slices(counted, (FEEDBACK, FEEDBACK_ERROR, COHORT_FEEDBACK), labels)


def value_slices(counted: ArmCounts) -> dict[SliceKey, SliceCounts]:
    """Predictions and reported numbers by slice, all processes together; a labelled row is one with a number."""

    def numbers(one: Series, at: Mapping[str, str]) -> Labels:
        return _by_cohort(one, at, "value") if one.metric == COHORT_FEEDBACK else _numbers(one, VALUE_BUCKETS)

    return _slices(counted, (FEEDBACK_VALUE, COHORT_FEEDBACK), numbers)


def _slices(
    counted: ArmCounts,
    metrics: tuple[str, ...],
    labels: Callable[[Series, Mapping[str, str]], Labels],
    predictions: str = PREDICTIONS,
    caller: str = "",
) -> dict[SliceKey, SliceCounts]:
    found: dict[SliceKey, SliceCounts] = {}
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(predictions, *metrics):
            key = parse_slice(at.get("slice", ""))
            if key is None or not (is_test or is_stable) or at.get("caller", "") != caller:
                continue
            if one.metric == predictions:
                rows = sum(one.counts)
                part = SliceCounts(test_predictions=rows) if is_test else SliceCounts(stable_predictions=rows)
            else:
                part = SliceCounts(test=labels(one, at)) if is_test else SliceCounts(stable=labels(one, at))
            add_slice(found, key, part)
    return found


def _numbers(one: Series, buckets: int) -> Labels:
    """Labels that are numbers; none of a process that counts by other buckets, as one of another release may."""
    return Labels(sum(one.counts), 0, (), one.counts) if len(one.counts) == buckets else NO_LABELS


def reported(counted: ArmCounts) -> tuple[int, ...]:
    """Numbers that were reported for the test arm by their buckets, all processes and slices together; empty: none."""
    total: tuple[int, ...] = ()
    for process in counted.processes:
        for one, _, is_test, _ in process.of(FEEDBACK_VALUE):
            if is_test and len(one.counts) == VALUE_BUCKETS:
                total = added(total, one.counts) if total else one.counts
    return total


def _by_cohort(one: Series, at: Mapping[str, str], observed: str) -> Labels:
    """What is observed so by the cohort of its key, beside what is counted of it in all."""
    if len(one.counts) != catalog.COHORTS or at.get("observed") != observed:
        return NO_LABELS
    return Labels(good_by=one.counts) if at.get("good") == "true" else Labels(bad_by=one.counts)


def caller_slices(counted: ArmCounts, caller: str) -> dict[SliceKey, SliceCounts]:
    """Predictions and labels by slice of callers in one segment, all processes together."""

    def labels(one: Series, at: Mapping[str, str]) -> Labels:
        rows = sum(one.counts)
        return Labels(rows, 0 if at.get("correct") == "true" else rows)

    return _slices(counted, (CALLER_FEEDBACK,), labels, CALLER_PREDICTIONS, caller)


def late_labels(counted: ArmCounts) -> int:
    """Labels of the test arm that came too late to be counted, all processes together."""
    return sum(sum(one.series.counts) for process in counted.processes for one in process.of(LATE) if one.test)


def _labels(one: Series, at: Mapping[str, str], classes: Sequence[str]) -> Labels:
    """What a series of labels, spread by the actual class, says; without a predicted class, whether that was right."""
    predicted, actual, rows = at.get("predicted"), one.by_label, sum(one.counts)
    if predicted:
        right = {predicted: actual.get(predicted, 0)}
        taken = {predicted: rows}
    else:
        right = actual if at.get("correct") == "true" else {}
        taken = right
    counted = ((taken.get(name, 0), actual.get(name, 0), right.get(name, 0)) for name in classes)
    return Labels(rows, rows - sum(right.values()), tuple(OfClass(*each) for each in counted))
