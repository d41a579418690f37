"""A gate in sentences: its counts and estimate, the evidence beside what decides, what it waits for. Pure."""

import math
from typing import Final

from crossfade.cli import text
from crossfade.cli.render.gate_words import arms_sentence, difference, metric_of
from crossfade.cli.render.gates import difference_text, fraction
from crossfade.cli.render.style import LIVE_STATES
from crossfade.cli.render.wait_words import wait_words, why_fewer
from crossfade.common.v1.analysis_pb2 import VERDICT_FAIL, VERDICT_PASS, VERDICT_UNSPECIFIED, Evidence, GateReport
from crossfade.registry.v1.resources_pb2 import ROLLOUT_STATE_INCONCLUSIVE, Rollout

_FORECAST: Final = "about "
"""What a gate waits for begins so where only more of the same is wanted."""


def gate_lines(gate: GateReport, rollout: Rollout) -> list[str]:
    """The lines of one gate; those after the first are indented.

    Args:
        gate: at the latest look, or at the one that ended the rollout.
        rollout: whose versions are compared.
    """
    metric = metric_of(rollout.policy, gate)
    watched = "" if gate.required else " (watched only)"
    line = f"{gate.gate}: {standing(gate)}{watched}. "
    line += arms_sentence(rollout.version, rollout.stable_version, gate, metric)
    if difference(gate, metric) is not None:
        line += f"; {difference_text(gate, metric)}"
    waits = _waits_line(gate, rollout)
    more = [evidence_line(gate), waits, why_fewer(gate) if waits else ""]
    return [line, *(f"  {one}" for one in more if one)]


def standing(gate: GateReport) -> str:
    """What a gate concludes, in one or two words."""
    passed = "better" if gate.primary else "safe"
    words = {VERDICT_PASS: passed, VERDICT_FAIL: "worse", VERDICT_UNSPECIFIED: "not judged"}
    return words.get(gate.verdict, "undecided")


def evidence_line(gate: GateReport) -> str:
    """`evidence of harm: 2 % of what rolls it back; of being safe: 86 % of what promotion needs`; empty: there is none.

    What promotion does not need is not asked to be safe.
    """
    if gate.verdict == VERDICT_UNSPECIFIED or not gate.harm.bar > 0:
        return ""
    harm = "all" if gate.verdict == VERDICT_FAIL else percent_of(gate.harm)
    line = f"evidence of harm: {harm} of what rolls it back"
    if not gate.required:
        return line
    safe = "all" if gate.verdict == VERDICT_PASS else percent_of(gate.safe)
    return f"{line}; of being {'better' if gate.primary else 'safe'}: {safe} of what promotion needs"


def percent_of(evidence: Evidence) -> str:
    """Log evidence over its bar; what has not decided is never rounded up to all of it."""
    return f"{min(99, math.floor(100 * fraction(evidence)))} %"


def lacked(gate: GateReport) -> float:
    """Seconds that a gate would have taken on to be safe, as it was forecast; 0: nobody knows.

    What waits for something else (labels that nobody sends, processes that are as busy) is not helped by time.
    """
    forecast = gate.waits_for.startswith(_FORECAST)
    return text.duration_seconds(gate.needed_time) if gate.needed and forecast else 0.0


def _waits_line(gate: GateReport, rollout: Rollout) -> str:
    if not gate.waits_for or gate.verdict in (VERDICT_PASS, VERDICT_FAIL):
        return ""
    if rollout.state in LIVE_STATES:
        return f"waits for {wait_words(gate.waits_for)}"
    # One that has ended waits for nothing any more; what it lacked is told where that ended it.
    thin = rollout.state == ROLLOUT_STATE_INCONCLUSIVE and lacked(gate) > 0.0
    return f"it lacked {gate.waits_for.replace('this traffic', 'that traffic')}" if thin else ""
