"""What a window says of mirrored requests: both versions' answers, and their labels."""

from evaluator.terms import Terms
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import CONTROL, NOTED_PAIRS, PAIRED_LABELS, PAIRS, PREDICTIONS, SHADOW, SliceKey, parse_slice
from evaluator.window.labels import Labels, RateRow, SliceCounts, add_slice

_FAR = "far"
"""Numbers that are far apart, as the Router says of a pair without classes."""


def pair_rows(counted: ArmCounts) -> list[RateRow]:
    """Mirrored rows, and those that the versions answered otherwise; a row per process, with nothing of stable."""
    rows = []
    for process in counted.processes:
        n = x = 0
        for one, at, is_test, _ in process.of(PAIRS):
            if is_test:
                count = sum(one.counts)
                n += count
                x += 0 if _agree(at.get("stable", ""), at.get("test", ""), counted.terms) else count
        if n:
            rows.append((n, x, 0, 0))
    return rows


def pair_slices(counted: ArmCounts) -> dict[SliceKey, SliceCounts]:
    """Mirrored rows that take labels and those of them whose label met its pair, by slice, all processes together.

    Both arms have the same rows, so that each slice counts as predicted for both what was mirrored. What could have
    been is what stable's control process answered.
    """
    found: dict[SliceKey, SliceCounts] = {}
    for process in counted.processes:
        for one, at, is_test, is_stable in process.of(NOTED_PAIRS, PAIRED_LABELS, PREDICTIONS):
            key, original = parse_slice(at.get("slice", "")), one.metric == PREDICTIONS
            mine, traffic = (is_stable, CONTROL) if original else (is_test, SHADOW)
            if key is None or not mine or at.get("traffic") != traffic:
                continue
            rows, agree = sum(one.counts), at.get("agree") == "yes"
            if original:
                part = SliceCounts(originals=rows)
            elif one.metric == NOTED_PAIRS:
                part = SliceCounts(rows, rows, agreeing=rows * agree)
            else:
                wrong = at.get("stable") == "wrong", at.get("test") == "wrong"
                part = _labelled(rows, stable_wrong=wrong[0], test_wrong=wrong[1], agree=agree)
            add_slice(found, key, part)
    return found


def _labelled(rows: int, *, stable_wrong: bool, test_wrong: bool, agree: bool) -> SliceCounts:
    test, stable = (
        Labels(rows, rows * wrong, alone=rows * (wrong and not other), agreeing=rows * agree)
        for wrong, other in ((test_wrong, stable_wrong), (stable_wrong, test_wrong))
    )
    return SliceCounts(test=test, stable=stable)


def _agree(stable: str, test: str, terms: Terms) -> bool:
    """Whether a pair's answers are the same class, or numbers as near as two trainings of one model give."""
    return stable == test and (stable != _FAR or _FAR in terms.declared)
