"""Gates on rates at one look, whose tests are judged side by side."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from evaluator.statistics.rates import RateTest
from evaluator.statistics.side_by_side import Judged, update_each

_Gate_co = TypeVar("_Gate_co", covariant=True)


class Judging(NamedTuple, Generic[_Gate_co]):
    """A gate before a look whose rows show harm and safety alike.

    Attributes:
        harm: its test of harm, and what that is to judge.
        safe: likewise of non-inferiority.
        after: the gate with both tests after the look.
    """

    harm: Judged
    safe: Judged
    after: Callable[[RateTest, RateTest], _Gate_co]


def judge_each(judging: Sequence[Judging[object]]) -> list[tuple[RateTest, RateTest]]:
    """Each gate's tests of harm and of non-inferiority after a look."""
    tests = update_each([test for one in judging for test in (one.harm, one.safe)])
    return list(zip(tests[::2], tests[1::2], strict=True))
