"""A call under way, and what a process is doing."""

from dataclasses import dataclass
from math import inf

from services.worker.front_end.acceptance import Acceptance
from services.worker.front_end.counting import Tally
from services.worker.front_end.lanes import Place
from services.worker.front_end.requests import Request
from services.worker.front_end.spans import RequestSpan


@dataclass(slots=True, eq=False)
class Call:
    """A call under way.

    Attributes:
        place: where it belongs.
        tally: where it is counted.
        span: its trace.
        acceptance: tells its caller that it has begun.
        expires: when it is ended because its caller has set no deadline, by the monotonic clock.
        request: as the engine has it.
        parts: how many parts of a stream were sent; None: it is no stream.
        first_part: when the first of them was, by the monotonic clock.
        write_began: since when its caller has been to read what was sent, by the monotonic clock; None: it has.
        written_seconds: how long it took its caller to read what was sent before.
    """

    place: Place
    tally: Tally
    span: RequestSpan | None
    acceptance: Acceptance
    expires: float = inf
    request: Request | None = None
    parts: int | None = None
    first_part: float | None = None
    write_began: float | None = None
    written_seconds: float = 0.0

    def is_readers(self, begun: float, now: float) -> bool:
        """Whether most of its time since `begun` went by while its caller did not read what was there."""
        pending = 0.0 if self.write_began is None else now - self.write_began
        return self.written_seconds + pending > (now - begun) / 2


@dataclass(slots=True)
class Activity:
    """What a process is doing.

    Attributes:
        in_flight: requests that are being answered.
        latest: when the latest request came or left, by the monotonic clock.
        closing: no more requests are taken.
        ending: streams under way are given up.
    """

    in_flight: int = 0
    latest: float = 0.0
    closing: bool = False
    ending: bool = False
