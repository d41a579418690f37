"""A few traces of each version under test, for whoever asks why it was rolled back. Plain Python."""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

KEPT: Final = 5
"""Traces per version of failed answers, and as many of others."""
_VERSIONS: Final = 200


@dataclass(slots=True)
class _OfVersion:
    failed: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    others: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))


class NotedTraces:
    """The latest traces that were kept, by (model, segment, version)."""

    def __init__(self) -> None:
        self._versions: OrderedDict[tuple[str, str, str], _OfVersion] = OrderedDict()

    def note(self, model: str, segment: str, version: str, trace_id: str, *, failed: bool) -> None:
        """Keeps a trace of a version under test.

        Args:
            model: the model's id.
            segment: the lane's.
            version: the version's id.
            trace_id: 32 hex digits.
            failed: it failed, or was so late that stable answered instead.
        """
        of_version = self._versions.setdefault((model, segment, version), _OfVersion())
        (of_version.failed if failed else of_version.others).append(trace_id)
        self._versions.move_to_end((model, segment, version))
        if len(self._versions) > _VERSIONS:
            self._versions.popitem(last=False)

    def of(self, model: str, segment: str, version: str) -> tuple[str, ...]:
        """The traces of a version, those of failures first and the newest of each first."""
        found = self._versions.get((model, segment, version), _OfVersion())
        return (*reversed(found.failed), *reversed(found.others))
