"""What one of several Evaluators says of its looks."""

import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict, FilteringBoundLogger


class Journal:
    """The lines of one Evaluator.

    Args:
        about: what the looks are at: a `rollout`, or a lane of a `model`.

    Attributes:
        log: where it writes them.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self._lines = LogCapture()
        self.log: FilteringBoundLogger = structlog.wrap_logger(structlog.PrintLogger(), processors=[self._lines])

    @property
    def looks(self) -> list[int]:
        """The numbers of the looks that it has recorded."""
        return [int(line["sequence"]) for line in self._said("looked")]

    @property
    def overtaken(self) -> int:
        """How many of its looks came to nothing since another was faster."""
        return len(self._said("somebody else was faster"))

    def _said(self, event: str) -> list[EventDict]:
        return [line for line in self._lines.entries if line["event"] == event and self._about in line]
