"""Reference profiles, and inputs that are counted by their bins."""

import numpy as np
from numpy.random import Generator

from evaluator.terms import Feature, Profile
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore


def reference(profile_id: str, features: int, bins: int = 10, rows: int = 1500) -> Profile:
    """A reference profile with bins of equal mass."""
    shares = tuple(1.0 / bins for _ in range(bins))
    return Profile(profile_id, rows, tuple(Feature(f"pixel_{number}", shares) for number in range(features)))


def count_inputs(
    store: MetricStore, in_segment: tuple[str, ...], rows: int, profile: Profile, shift: float, random: Generator
) -> None:
    """Counts rows of which a share of each feature's mass has moved to its last bin.

    Args:
        store: where they are counted.
        in_segment: the model, the version, the traffic and the lane's segment.
        rows: how many.
        profile: by whose bins, and where they lie but for the shift.
        shift: the share that has moved; 0: no drift.
        random: where chance comes from.
    """
    for feature in profile.features:
        chances = np.array(feature.proportions) * (1.0 - shift)
        chances[-1] += shift
        labels = tuple(str(number) for number in range(len(chances)))
        series = store.spread(catalog.INPUT_COUNT, labels, *in_segment, feature.name, profile.profile_id)
        series.add(random.multinomial(rows, chances / chances.sum()).tolist())
