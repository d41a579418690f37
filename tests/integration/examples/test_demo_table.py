"""The end of the demo, as it is printed."""

from collections import Counter

from examples.digits.demo.report import Report, VersionReport
from examples.digits.demo.screen import summary
from examples.digits.demo.traffic import Tally

_LONG = (
    "v2 is no worse than v1: v2 failed 0.00 % of 2,096 attempts and v1 0.00 % of 11,328, 1.00 % is allowed; v2's "
    "batches took 505 µs at the median and v1's 509 µs with the same traffic (−3 %), +41 % is allowed"
)
PRINTED = """\
seed 0: 152 s
version  outcome      requests  seconds
v1       STABLE              0        2
v2       PROMOTED        2,887       44
v3       ROLLED_BACK       211       13

v1: the lane's first version
v2 is no worse than v1: v2 failed 0.00 % of 2,096 attempts and v1 0.00 % of
    11,328, 1.00 % is allowed; v2's batches took 505 µs at the median and v1's
    509 µs with the same traffic (−3 %), +41 % is allowed
v3's batches took 2.41 ms at the median

Predict: 3,098 calls sent, 0 failed, 0 lost; 3,000 labels.
Every outcome was the expected one."""


def report() -> Report:
    """Three versions, and no call that failed."""
    versions = (
        VersionReport("v1", "STABLE", "STABLE", "the lane's first version", 1.6, 0, True),
        VersionReport("v2", "PROMOTED", "PROMOTED", _LONG, 43.7, 2_887, True),
        VersionReport("v3", "ROLLED_BACK", "ROLLED_BACK", "v3's batches took 2.41 ms at the median", 13.2, 211, True),
    )
    return Report(0, 152.2, versions, Tally(sent=3_098, answered=Counter(v2=2_887, v3=211), labels=3_000))


def test_the_end_of_the_demo_is_readable_at_80_columns() -> None:
    printed = summary(report(), 80).plain
    assert printed == PRINTED
    assert max(map(len, printed.splitlines())) <= 80


def test_a_failed_call_is_told_and_is_not_what_was_expected() -> None:
    tally = Tally(sent=2, answered=Counter(v1=1), failed=1, failures=["UNAVAILABLE: nothing answers"])
    lines = summary(Report(0, 1.0, report().versions, tally), 80).plain.splitlines()
    assert lines[-3:] == [
        "Predict: 2 calls sent, 1 failed, 0 lost; 0 labels.",
        "UNAVAILABLE: nothing answers",
        "NOT every outcome was the expected one.",
    ]
