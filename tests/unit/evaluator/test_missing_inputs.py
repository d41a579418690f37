"""Values that go missing are a drift of the inputs, from the profile through the Worker's counts to the verdict."""

import numpy as np
from numpy.typing import NDArray

from crossfade.binner import Binner
from crossfade.profile import build_profile
from crossfade.reference_profile import Profile
from crossfade.tensor_spec import DType, TensorSpec
from evaluator.evidence.inputs import ArmInputs
from evaluator.terms import Feature
from evaluator.terms import Profile as Reference
from evaluator.window.input_rows import BinRows


def rows(rng: np.random.Generator, number: int, missing: float) -> NDArray[np.float64]:
    """Rows of one feature whose values stay what they were; so many are missing."""
    values = rng.normal(size=(number, 1))
    values[rng.random(number) < missing] = np.nan
    return values


def watched(profile: Profile) -> ArmInputs:
    features = tuple(Feature(one.name, one.proportions) for one in profile.features)
    return ArmInputs.open(Reference(profile.id, profile.rows, features), 0.1)


def after_looks(missing: float) -> ArmInputs:
    rng = np.random.default_rng(5)
    profile = build_profile(TensorSpec("x", DType.FP32, (-1, 1)), rows(rng, 5_000, 0.02))
    binner, arm = Binner(profile.features), watched(profile)
    for _ in range(20):
        counted = binner.count(rows(rng, 200, missing))
        arm = arm.after(BinRows([[int(count) for count in counted.bins[0]]]))
    return arm


def test_values_that_go_missing_are_a_drift() -> None:
    drifted, alike = after_looks(0.4), after_looks(0.02)
    assert drifted.test.drifted
    assert not alike.test.drifted
    ((_, shift),) = drifted.shifts()
    assert abs(shift - 0.38) < 0.03
