"""The gates of a look as a table, and what they wait for. Pure."""

import math
from typing import Final

from rich.text import Text

from crossfade.cli.render.gate_words import difference, limit_text, metric_of, more_is_better
from crossfade.cli.render.wait_words import wait_words
from crossfade.cli.text import EMPTY, FULL, columns, count, percent, plural, seconds, signed
from crossfade.common.v1.analysis_pb2 import (
    VERDICT_FAIL,
    VERDICT_PASS,
    DriftReport,
    Evidence,
    FeatureDrift,
    GateReport,
    ShadowReport,
    Summary,
)
from crossfade.common.v1.policy_pb2 import METRIC_ABSOLUTE_ERROR, METRIC_INPUT_DRIFT, METRIC_RUNTIME, Metric, Policy

ENOUGH_ROWS: Final = 1_000
"""Below as many rows the largest shift of many features is mostly noise."""
DRIFT_MARGIN: Final = 0.1
"""The policy's drift_margin where it sets none."""
_SHOWN: Final = 3
"""Features that are named."""
_HEADER: Final = ("gate", "stable", "test", "difference (95 % interval)", "harm", "safe")
_HARM_WIDTH: Final = 5
_SAFE_WIDTH: Final = 8


def gates_table(summary: Summary, policy: Policy, indent: int = 0) -> list[Text]:
    """One line per gate under a header; no gates: no lines.

    `harm` and `safe` are log evidence over its bar: 100 % decides.
    """
    gates = [gate for gate in summary.gates if metric_of(policy, gate) != METRIC_INPUT_DRIFT]
    if not gates:
        return []
    rows = [[Text(cell, "dim") for cell in _HEADER]]
    for gate in gates:
        rows.append(_row(gate, metric_of(policy, gate)))
        if gate.HasField("tail"):
            rows.append(_tail_row(gate))
    return columns(rows, indent=indent)


def estimate_text(estimate: float, metric: Metric.ValueType) -> str:
    """An arm's value: `0.02 %`, `3.1 ms`, and for accuracy the share of right answers."""
    if metric == METRIC_RUNTIME:
        return seconds(estimate)
    if metric == METRIC_ABSOLUTE_ERROR:
        return f"{estimate:.3g}"
    return percent(1 - estimate, 1) if more_is_better(metric) else percent(estimate)


def difference_text(gate: GateReport, metric: Metric.ValueType) -> str:
    """`+0.3 (−1.4 … +2.1) pt`, `+2 % (−3 … +6) %`, `+4.1 (+3.0 … +5.2) pt of ≥ 90 %`; `–`: nothing to compare."""
    found = difference(gate, metric)
    of = f" of {limit_text(gate.limit)}" if gate.HasField("limit") else ""
    if found is None:
        return limit_text(gate.limit) if of else "–"
    if not found.interval:
        return f"{found.middle} {found.unit}{of}"
    own = f"{found.middle} %" if found.unit == "%" else found.middle
    return f"{own} ({found.interval}) {found.unit}{of}"


def fraction(evidence: Evidence) -> float:
    """Log evidence over its bar, 0 to 1."""
    if not (evidence.bar > 0 and math.isfinite(evidence.log_e)):
        return 1.0 if evidence.log_e > 0 and evidence.bar > 0 else 0.0
    return min(max(evidence.log_e / evidence.bar, 0.0), 1.0)


def drift_line(drift: DriftReport, margin: float = 0.0) -> str:
    """`Inputs: no drift (largest: age, 0.03 of 0.10)`; empty: nothing was watched.

    Args:
        drift: what the look says.
        margin: the policy's drift_margin; 0: the default.
    """
    if not (drift.test_rows or drift.stable_rows):
        return ""
    allowed = f"{margin or DRIFT_MARGIN:.2f}"
    arms = {
        (True, True): "drifted in both arms",
        (True, False): "drifted for the test version only",
        (False, True): "drifted for the stable version only",
    }
    state = arms.get((drift.test_drifted, drift.stable_drifted))
    if state is None:
        enough = min(rows for rows in (drift.test_rows, drift.stable_rows) if rows) >= ENOUGH_ROWS
        largest = drift.features[0] if drift.features and enough else None
        if largest is None:
            return "Inputs: no drift"
        most = f"largest: {largest.feature}, {largest.shift:.2f} of {allowed}"
        # Rows of few requests are alike: what moved is no evidence before more have come.
        sure = "no drift" if largest.shift <= (margin or DRIFT_MARGIN) else "too few requests yet to tell a drift"
        return f"Inputs: {sure} ({most})"
    beyond, within = _parted(drift, margin)
    if not beyond:
        # What has drifted may be many small shifts, or be over while the evidence still says so.
        return f"Inputs: {state}" + (f" (none of the largest is beyond {allowed})" if within else "")
    moved = ", ".join(f"{one.feature} {one.shift:.2f}" for one in beyond[:_SHOWN])
    moved += f" and {len(beyond) - _SHOWN} more" if len(beyond) > _SHOWN else ""
    rest = f", and the next {'one' if len(within) == 1 else len(within)} within it" if within else ""
    return f"Inputs: {state} ({moved}; {allowed} allowed{rest})"


def drift_details(drift: DriftReport, margin: float = 0.0) -> list[str]:
    """`  age: shift 0.03, PSI 0.012, Jensen-Shannon 0.002 bits`, of those that moved most; empty: too few rows yet.

    Where any is beyond the margin, of those alone.
    """
    beyond, within = _parted(drift, margin)
    return [
        f"  {one.feature}: shift {one.shift:.2f}, PSI {one.psi:.3f}, Jensen-Shannon {one.jensen_shannon:.3f} bits"
        for one in (beyond or within)[:_SHOWN]
        if one.psi > 0
    ]


def _parted(drift: DriftReport, margin: float) -> tuple[list[FeatureDrift], list[FeatureDrift]]:
    """The features that moved beyond the margin and those within it, largest first; 0: the default margin."""
    ordered = sorted(drift.features, key=lambda one: -one.shift)
    beyond = [one for one in ordered if one.shift > (margin or DRIFT_MARGIN)]
    return beyond, ordered[len(beyond) :]


def shadow_line(shadow: ShadowReport) -> str:
    """`Shadow: 3.12 % of 12,031 mirrored rows were answered otherwise`; empty: none was compared."""
    if not shadow.rows:
        return ""
    share = percent(shadow.different / shadow.rows)
    labelled = f"; {count(shadow.labelled)} got a label that met both answers" if shadow.labelled else ""
    return f"Shadow: {share} of {plural(shadow.rows, 'mirrored row')} were answered otherwise{labelled}"


def waiting_lines(summary: Summary) -> list[str]:
    """What keeps the look from a decision: holds first, then what the required gates wait for, each once."""
    waits = [
        f"waits for {wait_words(gate.waits_for)}"
        for gate in sorted(summary.gates, key=lambda gate: -gate.needed_time.seconds)
        if gate.required and gate.verdict != VERDICT_PASS and gate.waits_for
    ]
    return list(dict.fromkeys([*(f"holds: {hold}" for hold in summary.holds), *waits]))


def _row(gate: GateReport, metric: Metric.ValueType) -> list[Text]:
    return [
        Text(gate.gate),
        Text(estimate_text(gate.baseline.estimate, metric) if gate.baseline.n else "–"),
        Text(estimate_text(gate.test.estimate, metric) if gate.test.n else "–"),
        Text(difference_text(gate, metric)),
        harm_meter(gate),
        _safe(gate),
    ]


def _tail_row(gate: GateReport) -> list[Text]:
    """The slowest batches, below the row of the median; harm is judged by all batches at once."""
    test, baseline = gate.tail.test, gate.tail.baseline
    more = "–"
    if test.n and baseline.n:
        more = f"{signed(100 * (test.x / test.n - baseline.x / baseline.n), 1)} pt beyond stable's p99"
    shown = gate.tail.safe.log_e >= gate.tail.safe.bar > 0
    safe = _meter(gate.tail.safe, _SAFE_WIDTH, "green", "safe" if shown else "")
    return [
        Text(f"  {gate.gate} p99"),
        Text(seconds(baseline.estimate) if baseline.n else "–"),
        Text(seconds(test.estimate) if test.n else "–"),
        Text(more),
        Text(""),
        safe if gate.required else Text("watched", "dim"),
    ]


def harm_meter(gate: GateReport) -> Text:
    """Evidence of harm over the bar that decides."""
    return _meter(gate.harm, _HARM_WIDTH, "red", "worse" if gate.verdict == VERDICT_FAIL else "")


def _safe(gate: GateReport) -> Text:
    # A gate that promotion does not need has nothing to reach.
    if not gate.required:
        return Text("watched", "dim")
    decided = "better" if gate.primary else "safe"
    return _meter(gate.safe, _SAFE_WIDTH, "green", decided if gate.verdict == VERDICT_PASS else "")


def _meter(evidence: Evidence, width: int, colour: str, decided: str) -> Text:
    part = 1.0 if decided else fraction(evidence)
    filled = math.floor(part * width)
    meter = Text(FULL * filled, colour)
    meter.append(EMPTY * (width - filled), "dim")
    # 100 % decides, so that what has not decided is never rounded up to it.
    return meter + Text(f" {decided}" if decided else f" {min(99, math.floor(100 * part)):2d} %")
