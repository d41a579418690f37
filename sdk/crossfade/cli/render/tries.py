"""How often a version was tried before, and what that does to the chance that it passes by luck. Pure."""

from collections.abc import Sequence
from typing import Final

from crossfade.cli import text
from crossfade.cli.render.gate_words import ALPHA_PROMOTE
from crossfade.cli.render.style import LIVE_STATES
from crossfade.common.v1.policy_pb2 import OBJECTIVE_SUPERIOR
from crossfade.registry.v1.resources_pb2 import ROLLOUT_STATE_PROMOTED, Rollout

_NAMED: Final = 5


def tries_sentence(rollout: Rollout, earlier: Sequence[Rollout]) -> str:
    """What earlier tries mean for this one; empty: it is the first, or has ended and was not promoted.

    Each try begins with fresh evidence and may pass a version by luck with the probability that the policy allows.

    Args:
        rollout: the one that is told of.
        earlier: the tries before it, newest first.
    """
    if not earlier or rollout.state not in {*LIVE_STATES, ROLLOUT_STATE_PROMOTED}:
        return ""
    tries = len(earlier) + 1
    once = rollout.policy.alpha_promote or ALPHA_PROMOTE
    together = 1.0 - (1.0 - once) ** tries
    named = ", ".join(text.last_part(one.name) for one in reversed(earlier[:_NAMED]))
    before = text.plural(len(earlier), "rollout") + f" before: {'…, ' if len(earlier) > _NAMED else ''}{named}"
    lucky = "is no better wins" if rollout.objective == OBJECTIVE_SUPERIOR else "is worse by a whole safe margin passes"
    return (
        f"It is try {tries} of {rollout.version} ({before}). A version that {lucky} one try with a chance of "
        f"{once:.3g} at most, one of {tries} with {together:.2g}."
    )
