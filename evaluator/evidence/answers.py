"""Whether labels reach the answers of all classes alike.

Where people label what was answered with one class and little of the rest, what was missed is hardly among the labels,
in both arms alike: a version that misses twice as much looks as good as stable. So coverage is known by predicted class
within each arm, and what mixes answers of several classes waits as long as one class stands out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from evaluator.gates.maturity import is_apart
from evaluator.statistics.process import log_threshold
from evaluator.statistics.selection import Selection, Stratum, selection
from evaluator.window.answer_rows import NO_ANSWERS, Answered, ArmsByAnswer, ByAnswer, answered_slices, together
from evaluator.window.arm_counts import ArmCounts
from evaluator.window.arms import SliceKey
from services.common.policy.records import LabelMaturity

_ALPHA = 0.01
"""With this probability a class of a rollout ever stands out by chance, where labels are drawn at random."""


class Apart(NamedTuple):
    """A predicted class whose answers have labels more or less often than those of all other classes.

    Attributes:
        name: the class.
        others: the other class; empty: there are several.
        arm: 0: of the test version, 1: of stable.
        coverage: share of the answers with labels: of the class, and of the others.
        moved: by how much the class's share among labelled answers differs from its share among all.
        log_e: the evidence.
    """

    name: str
    others: str
    arm: int
    coverage: tuple[float, float]
    moved: float
    log_e: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of both arms by slice and predicted class.

    Attributes:
        slices: all that was counted.
    """

    slices: Mapping[SliceKey, ArmsByAnswer] = field(default_factory=dict)

    def plus(self, counted: ArmCounts) -> "Answers":
        """With a look's counts."""
        slices = dict(self.slices)
        for key, more in answered_slices(counted).items():
            slices[key] = together(slices.get(key, NO_ANSWERS), more)
        return replace(self, slices=slices)

    def apart(self, keys: Iterable[SliceKey], maturity: LabelMaturity, effect: float) -> tuple[Apart, ...]:
        """The classes that stand out in those slices, materially and beyond chance, the clearest first.

        Args:
            keys: slices that are old enough.
            maturity: how unlike the coverages may be.
            effect: rows of a request that may get their labels together.
        """
        slices = [self.slices[key] for key in keys if key in self.slices]
        found: list[Apart] = []
        for arm in (0, 1):
            of_arm = [one[arm] for one in slices]
            totals = [sum(rows for rows, _ in one.values()) for one in of_arm]
            labels = [sum(labelled for _, labelled in one.values()) for one in of_arm]
            names = sorted({name for one in of_arm for name in one})
            for name in names if len(names) > 1 else ():
                strata = [_stratum(*each, name) for each in zip(of_arm, totals, labels, strict=True)]
                seen = selection(strata, effect)
                if is_apart(seen.ratio, maturity) and seen.log_e >= log_threshold(_ALPHA / (2 * len(names))):
                    rest = names[1 - names.index(name)] if len(names) == 2 else ""
                    found.append(_apart(name, rest, arm, strata, seen))
        return tuple(sorted(found, key=lambda one: (-one.log_e, one.arm, one.name)))


def _stratum(answers: ByAnswer, rows: int, labels: int, name: str) -> Stratum:
    one = answers.get(name, Answered())
    return Stratum(one.rows, rows - one.rows, one.labelled, labels - one.labelled)


def _apart(name: str, others: str, arm: int, strata: Iterable[Stratum], seen: Selection) -> Apart:
    kind, rest, kind_labelled, rest_labelled = map(sum, zip(*strata, strict=True))
    return Apart(name, others, arm, (kind_labelled / kind, rest_labelled / rest), seen.moved, seen.log_e)
