"""How late labels come: of right and of wrong answers, and of each class."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import CLASS_LAG, LAG, added
from services.common.telemetry.bounds import LAG_BOUNDS

USUAL: Final = 0.99
"""Share of the labels that have come at the usual lag."""
USUAL_OF_CLASS: Final = 0.95
"""The same of one class. What matters is a class whose labels are all late, not the last ones of each: of many classes
some have a straggler among their first labels, for which nothing should wait."""
ENOUGH_LAGS: Final = 20
"""Of fewer labels it is not known how late they come."""

Lags = tuple[int, ...]
"""Labels by the buckets of crossfade.feedback.lag and of crossfade.feedback.class.lag."""
NO_LAGS: Final[Lags] = (0,) * (len(LAG_BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Lateness:
    """Labels by their lag.

    Attributes:
        answers: of an arm's right and of its wrong answers, by (whether it is the test arm, whether they are wrong);
            what is neither right nor wrong is with the right ones.
        classes: of an arm's rows of a class, by (whether it is the test arm, the class that was true); none of a model
            with more than 32 classes.
    """

    answers: Mapping[tuple[bool, bool], Lags] = field(default_factory=dict)
    classes: Mapping[tuple[bool, str], Lags] = field(default_factory=dict)

    def plus(self, counted: ArmCounts) -> "Lateness":
        """With a look's labels, all processes together."""
        answers, classes = dict(self.answers), dict(self.classes)
        for process in counted.processes:
            for one, at, is_test, is_stable in process.of(LAG, CLASS_LAG):
                if len(one.counts) != len(NO_LAGS) or not (is_test or is_stable):
                    continue
                if one.metric == CLASS_LAG:
                    name = is_test, at.get("actual", "")
                    classes[name] = added(classes.get(name, NO_LAGS), one.counts)
                else:
                    answered = is_test, at.get("correct") == "false"
                    answers[answered] = added(answers.get(answered, NO_LAGS), one.counts)
        return Lateness(answers, classes)

    @property
    def usual(self) -> float:
        """Seconds within which nearly all labels have come, those of wrong answers and of every class too.

        Labels that have not come yet are in none of the counts, so that early in a lane's life this is too little.
        0: there are too few to tell.
        """
        answers = (usual_lag(lags, USUAL) for lags in self.answers.values())
        classes = (usual_lag(lags, USUAL_OF_CLASS) for lags in self.classes.values())
        return max((*answers, *classes), default=0.0)

    def wrong(self, *, test: bool) -> int:
        """Labels of an arm's wrong answers."""
        return sum(self.answers.get((test, True), NO_LAGS))


def usual_lag(lags: Lags, share: float) -> float:
    """Seconds within which that share of the labels has come, rounded up to a bound; 0: there are too few to tell."""
    total = sum(lags)
    if total < ENOUGH_LAGS:
        return 0.0
    bucket = next(number for number, sofar in enumerate(accumulate(lags)) if sofar >= share * total)
    return LAG_BOUNDS[min(bucket, len(LAG_BOUNDS) - 1)]
