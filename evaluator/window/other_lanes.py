"""Whether the processes that runtimes are compared of answer other lanes' requests as well.

Batches are counted by version and kind of traffic, since one batch may have requests of several lanes. Where the
version under test is stable in another lane, its process answers that lane's requests too, and is as much busier than
the control process: the same model was 72 % slower with 5 % of the traffic than with 95 %. So a slower version could
pass for a faster one. What both have alike of other lanes (the same two versions are on trial there) hides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import ATTEMPTS, CONTROL, ELSEWHERE

MOST_ELSEWHERE: Final = 0.05
"""Of its own lane's requests, what one process may have of other lanes more than the other. With a twentieth more
traffic it is 1 % faster, a ninth of the bucket that a runtime gate allows."""
_KEPT: Final = 0.8
"""Weight of the looks before, so that a look of few requests decides nothing by itself."""
_LEAST: Final = 0.01
"""What is less is forgotten."""


@dataclass(frozen=True, slots=True)
class OtherLanes:
    """Requests of the latest looks, the older ones with less weight.

    Attributes:
        test: those of the rollout's lane that the version under test was given.
        control: the same of stable's control process.
        test_elsewhere: those of other lanes that the test version's process was given, by segment.
        control_elsewhere: the same of the control process.
    """

    test: float = 0.0
    control: float = 0.0
    test_elsewhere: Mapping[str, float] = field(default_factory=dict)
    control_elsewhere: Mapping[str, float] = field(default_factory=dict)

    def plus(self, counted: ArmCounts) -> "OtherLanes":
        """With a look's counts."""
        test = control = 0
        elsewhere: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for process in counted.processes:
            for one, at, is_test, is_stable in process.of(ATTEMPTS):
                if is_test:
                    test += sum(one.counts)
                elif is_stable and at.get("traffic") == CONTROL:
                    control += sum(one.counts)
            for one, at, _, _ in process.of(ELSEWHERE):
                found = elsewhere[at.get("version") != counted.terms.test]
                segment = at.get("segment", "")
                found[segment] = found.get(segment, 0) + sum(one.counts)
        # What came before the rollout's own requests is in no proportion to them.
        before = self if self.test and self.control else OtherLanes()
        return OtherLanes(
            before.test * _KEPT + test,
            before.control * _KEPT + control,
            _plus(before.test_elsewhere, elsewhere[0]),
            _plus(before.control_elsewhere, elsewhere[1]),
        )

    @property
    def shares(self) -> tuple[float, float]:
        """Share of other lanes' requests among those of the test version's process, and of the control process."""
        return _share(self.test, self.test_elsewhere), _share(self.control, self.control_elsewhere)

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments of those lanes."""
        return tuple(sorted(self.test_elsewhere.keys() | self.control_elsewhere.keys()))

    @property
    def apart(self) -> bool:
        """Whether other lanes make one of both processes busier than the other."""
        test, control = sum(self.test_elsewhere.values()), sum(self.control_elsewhere.values())
        # test / self.test and control / self.control differ by more than the most, without a division by nothing.
        unlike = abs(test * self.control - control * self.test)
        if not (self.test and self.control):
            return bool(test or control)
        return unlike > MOST_ELSEWHERE * self.test * self.control


def _plus(before: Mapping[str, float], more: Mapping[str, int]) -> dict[str, float]:
    added = {
        segment: before.get(segment, 0.0) * _KEPT + more.get(segment, 0) for segment in before.keys() | more.keys()
    }
    return {segment: requests for segment, requests in sorted(added.items()) if requests >= _LEAST}


def _share(own: float, elsewhere: Mapping[str, float]) -> float:
    others = sum(elsewhere.values())
    return others / (own + others) if others else 0.0


NO_OTHER_LANES: Final = OtherLanes()
