"""The splits that series belong to, and which of those that are gone their process dropped."""

from collections.abc import Iterable

from services.common.telemetry import catalog

Split = tuple[int, ...]
"""An epoch, or an epoch and a slice's number."""


def split_of(attributes: Iterable[tuple[str, str]]) -> Split | None:
    """The split that a series belongs to; None: to none, or it is written in another form."""
    for name, value in attributes:
        if name in catalog.SPLIT_ATTRIBUTES:
            parts = value.split(".")
            return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else None
    return None


def newest_splits(series: Iterable[tuple[str, Split | None]]) -> dict[str, Split]:
    """The newest split by metric."""
    newest: dict[str, Split] = {}
    for metric, split in series:
        if split is not None:
            newest[metric] = max(split, newest.get(metric, split))
    return newest


def long_over(split: Split | None, newest: Split | None) -> bool:
    """Whether processes drop the series of a split once they have the newest one's."""
    if split is None or newest is None or len(split) != len(newest):
        return False
    if newest[0] != split[0]:
        return newest[0] - split[0] >= catalog.KEPT_EPOCHS
    return len(split) == 2 and newest[1] - split[1] >= catalog.KEPT_SLICES
