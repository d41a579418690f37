"""Which features a drift is told by."""

import pytest

from crossfade.cli.render.gates import drift_details, drift_line
from crossfade.common.v1.analysis_pb2 import DriftReport, FeatureDrift


def drifted(**shifts: float) -> DriftReport:
    features = [FeatureDrift(feature=name, shift=shift, psi=shift) for name, shift in shifts.items()]
    return DriftReport(test_drifted=True, test_rows=5_000, stable_rows=5_000, features=features)


@pytest.mark.parametrize(
    ("shifts", "told"),
    [
        ({"age": 0.312}, "age 0.31; 0.10 allowed"),
        ({"near": 0.09, "age": 0.31, "low": 0.02}, "age 0.31; 0.10 allowed, and the next 2 within it"),
        (
            {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2, "e": 0.1},
            "a 0.50, b 0.40, c 0.30 and 1 more; 0.10 allowed, and the next one within it",
        ),
        ({"age": 0.05}, "none of the largest is beyond 0.10"),
    ],
)
def test_features_beyond_the_margin_are_named_and_the_others_counted(shifts: dict[str, float], told: str) -> None:
    assert drift_line(drifted(**shifts)) == f"Inputs: drifted for the test version only ({told})"


def test_a_margin_of_ones_own_parts_them_otherwise() -> None:
    report = drifted(age=0.31, near=0.09)
    assert "(age 0.31, near 0.09; 0.05 allowed)" in drift_line(report, 0.05)
    assert [line.split(":")[0] for line in drift_details(report)] == ["  age"]
    assert [line.split(":")[0] for line in drift_details(report, 0.05)] == ["  age", "  near"]
    assert [line.split(":")[0] for line in drift_details(drifted(age=0.05, near=0.04))] == ["  age", "  near"]
