"""Whether anybody looks at a live rollout: nothing that goes wrong with its version is seen otherwise."""

from typing import Final

from crossfade.cli import text
from crossfade.common.v1.analysis_pb2 import Analysis
from crossfade.registry.v1.resources_pb2 import Rollout

_LOOK_SECONDS: Final = 30.0
"""A policy's look_interval, by default."""
_MISSED: Final = 3
_LEAST_SECONDS: Final = 15.0
"""What a look itself and the clocks of two machines may come to."""


def overdue(rollout: Rollout, analysis: Analysis | None, now: float) -> str:
    """`no look for 46 s, though one is due every 2 s: …`; empty: looks come.

    Args:
        rollout: a live one.
        analysis: its latest look; None: there was none.
        now: seconds since 1970.
    """
    policy = rollout.policy
    interval = policy.look_interval.ToNanoseconds() / 1e9 if policy.HasField("look_interval") else _LOOK_SECONDS
    if analysis is not None and analysis.HasField("record_time"):
        since, missed = text.unix(analysis.record_time), "no look for"
    elif rollout.HasField("start_time"):
        # Not since it was created: it may have been queued for long.
        since, missed = text.unix(rollout.start_time), "no look in"
    else:
        return ""
    passed = now - since
    if passed <= max(_MISSED * interval, interval + _LEAST_SECONDS):
        return ""
    return (
        f"{missed} {text.span(passed)}, though one is due every {text.span(interval)}: nobody would roll it back now. "
        "crossfade instances shows whether an Evaluator is alive; its log says what keeps it"
    )
