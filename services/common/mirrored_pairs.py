"""Both versions' answers to a mirrored request, until labels say who was right."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from services.common.prediction_token import NO_CLASS, Prediction
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore

TRAFFIC_NAMES: Final = ("", "live", "control", "shadow", "pinned", "failover", "reduced")
"""Values of the attribute `traffic`, by the number of `crossfade.common.v1.Traffic`."""

Classes = Callable[[str, str], Sequence[str] | None]
"""Class names of (model, version); None: the version is not known here any more."""


class MirroredPairs:
    """What the test version answered to requests that stable has answered.

    Args:
        store: where rows are counted.
        classes: gives a version's class names.
        most: requests whose second answer is remembered; the oldest are forgotten first.
    """

    def __init__(self, store: MetricStore, classes: Classes, most: int) -> None:
        self._store = store
        self._classes = classes
        self._most = most
        # The first key of a dict is found past all that were deleted before it.
        self._tests: OrderedDict[int, Prediction] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tests)

    def __contains__(self, stable: Prediction) -> bool:
        return stable.nonce in self._tests

    def note(self, stable: Prediction, test: Prediction) -> None:
        """Remembers both answers, and counts the rows that take labels by whether the versions agree."""
        self._tests[stable.nonce] = test
        if len(self._tests) > self._most:
            self._tests.popitem(last=False)
        for row in range(min(len(stable.classes), len(test.classes))):
            agree = self._agree(stable, test, row)
            if agree is not None:
                at = (*arm_of(test), stable.segment, slice_of(stable), _YES[agree])
                self._store.counter(catalog.SHADOW_NOTED_COUNT, *at).add()

    def label(self, stable: Prediction, row: int, actual: str, *, last: bool) -> None:
        """Counts who was right, where both answered the row.

        Args:
            stable: the prediction that the label is of.
            row: of the request.
            actual: its class.
            last: all rows of the request have labels now, so that nothing more is to come.
        """
        test = self._tests.get(stable.nonce)
        agree = None if test is None else self._agree(stable, test, row)
        if test is None or agree is None:
            return
        right = (_RIGHT[self._class(one, row) == actual] for one in (stable, test))
        at = (*arm_of(test), stable.segment, slice_of(stable), _YES[agree], *right)
        self._store.counter(catalog.SHADOW_LABEL_COUNT, *at).add()
        if last:
            # It leaves room for what waits.
            del self._tests[stable.nonce]

    def _agree(self, stable: Prediction, test: Prediction, row: int) -> bool | None:
        """Whether both versions answered a row with the same class; None: one of them answered with none."""
        classes = self._class(stable, row), self._class(test, row)
        return classes[0] == classes[1] if all(classes) else None

    def _class(self, prediction: Prediction, row: int) -> str:
        """The class of a row by its name; empty: it has none, or its version is gone."""
        classes = self._classes(prediction.model, prediction.version) or ()
        number = prediction.classes[row] if row < len(prediction.classes) else NO_CLASS
        return classes[number] if number < len(classes) else ""


_RIGHT: Final = {True: "right", False: "wrong"}
_YES: Final = {True: "yes", False: "no"}


def arm_of(prediction: Prediction) -> tuple[str, str, str]:
    """The attributes model, version and traffic."""
    return prediction.model, prediction.version, TRAFFIC_NAMES[prediction.traffic]


def slice_of(prediction: Prediction) -> str:
    """The attribute `slice`: the split that routed it, and when."""
    return f"{prediction.epoch}.{prediction.slice}"
