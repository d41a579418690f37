"""For how long a caller waits, as far as gRPC tells it."""

import math
from typing import Final, Protocol

_LEAST_GRAIN: Final = 0.001
_DIGITS: Final = 2
"""After the first."""
_SENT_AGAIN: Final = 0.03
"""For a timeout that is shorter by up to this share gRPC's core sends one again that it has sent on the connection
before, which takes fewer bytes (`hpack_encoder.cc`): 1.96 s arrive as 2 s where others have 2 s.
"""
_TRANSIT_SECONDS: Final = 0.01
"""A caller's own deadline passes sooner here than ours, which began when its request arrived."""


class Told(Protocol):
    """What a handler is told of its call."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline that arrived with the call; None: none did."""


def seconds_left(context: Told) -> float | None:
    """How long the caller waits, in seconds; None: it has set no deadline.

    On its way a timeout is rounded up, by gRPC's core to three digits (`timeout_encoding.cc`): one of 10.01 s arrives
    as 10.1 s. Who answers only by then has nobody left to answer. It may wait for less by what `sooner` says, which is
    not taken off: most callers do not, and would get nothing for it.
    """
    left = context.time_remaining()
    return None if left is None else max(0.0, left - _grain(left))


def ended_by_deadline(left: float, waited: float) -> bool:
    """Whether a handler is cancelled since its caller's deadline has passed, and not since the caller gave up before.

    Args:
        left: seconds until the deadline that arrived.
        waited: seconds since it arrived.
    """
    return left <= _TRANSIT_SECONDS + _grain(left + waited) + sooner(left + waited)


def sooner(seconds: float) -> float:
    """How long before it ends that a caller may have gone whose timeout arrived as so many seconds."""
    return _SENT_AGAIN * seconds


def _grain(seconds: float) -> float:
    """By how much so long a timeout may have been rounded."""
    if seconds <= 1.0:
        return _LEAST_GRAIN
    return float(10.0 ** (math.floor(math.log10(seconds)) - _DIGITS))
