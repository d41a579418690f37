"""A gate's evidence as attributes of a span: the same of the Evaluator's decision and of the Registry's transition."""

from typing import Protocol


class _Arm(Protocol):
    @property
    def n(self) -> int: ...
    @property
    def x(self) -> int: ...
    @property
    def estimate(self) -> float: ...


class _Evidence(Protocol):
    @property
    def log_e(self) -> float: ...
    @property
    def bar(self) -> float: ...


class Report(Protocol):
    """One gate at one look, as in crossfade.common.v1.GateReport."""

    @property
    def gate(self) -> str: ...
    @property
    def test(self) -> _Arm: ...
    @property
    def baseline(self) -> _Arm: ...
    @property
    def difference(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def harm(self) -> _Evidence: ...
    @property
    def safe(self) -> _Evidence: ...


def gate_attributes(report: Report, verdict: str) -> dict[str, str | float]:
    """`crossfade.gate.NAME.…`: the verdict, each arm's counts and estimate, the difference, and the evidence.

    Args:
        report: of the gate.
        verdict: PASS, FAIL, CONTINUE or INCONCLUSIVE.
    """
    values: dict[str, str | float] = {
        "verdict": verdict,
        "difference": report.difference,
        "low": report.low,
        "high": report.high,
    }
    for name, arm in (("test", report.test), ("baseline", report.baseline)):
        values |= {f"{name}.n": arm.n, f"{name}.x": arm.x, f"{name}.estimate": arm.estimate}
    for name, evidence in (("harm", report.harm), ("safe", report.safe)):
        values |= {f"{name}.log_e": evidence.log_e, f"{name}.bar": evidence.bar}
    return {f"crossfade.gate.{report.gate}.{key}": value for key, value in values.items()}
