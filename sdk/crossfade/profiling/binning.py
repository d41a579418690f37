"""The bins of a feature with what is in them, for people: the bins themselves are made by `crossfade.profile`."""

from collections.abc import Mapping, Sequence

import numpy as np

from crossfade.profile import MAX_CATEGORIES
from crossfade.profiling.summary import Bin
from crossfade.profiling.tables import Numbers
from crossfade.reference_profile import Feature


def range_bins(feature: Feature, values: Numbers) -> tuple[Bin, ...]:
    """A numeric feature's bins, each with the least and the greatest value of the sample in it."""
    ordered = np.sort(values[np.isfinite(values)])
    ends = (0, *np.searchsorted(ordered, feature.edges, side="left"), len(ordered))
    bins = []
    for share, start, end in zip(feature.proportions, ends[:-1], ends[1:], strict=False):
        least, greatest = float(ordered[start]), float(ordered[end - 1])
        bins.append(Bin(share, "value" if least == greatest else "range", least, greatest))
    return (*bins, *_missing(feature.missing))


def category_bins(feature: Feature, texts: Sequence[str] | None) -> tuple[Bin, ...]:
    """A categorical feature's bins, the most frequent first.

    Args:
        feature: the feature.
        texts: what its numbers stand for; None: for themselves.
    """
    bins = [
        Bin(share, "value", value, value, None if texts is None else texts[int(value)])
        for value, share in zip(feature.edges, feature.proportions, strict=False)
    ]
    bins.sort(key=lambda one: -one.share)
    others = feature.proportions[feature.value_bins - 1]
    return (*bins, *([Bin(others, "other")] if others else []), *_missing(feature.missing))


def text_bins(texts: Sequence[str], counts: Mapping[float, int] | None, missing: int) -> tuple[Bin, ...]:
    """The bins that a column of texts would have; none, where it has too many texts to be counted."""
    if counts is None:
        return ()
    total = sum(counts.values()) + missing
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    bins = [Bin(times / total, "value", text=texts[int(code)]) for code, times in ordered[:MAX_CATEGORIES]]
    others = sum(times for _, times in ordered[MAX_CATEGORIES:])
    return (
        *bins,
        *([Bin(others / total, "other")] if others else []),
        *_missing(missing / total if missing else None),
    )


def _missing(share: float | None) -> list[Bin]:
    return [] if share is None else [Bin(share, "missing")]
