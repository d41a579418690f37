"""The reference profile of an artifact: per feature, the bins and proportions seen in training.

It is a part of the manifest, and counted against wherever the version answers.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from crossfade.name_checks import check_label, check_tensor_name, check_unique
from crossfade.strict_json import encode, refuse, require

MAX_FEATURES = 64


class FeatureKind(StrEnum):
    """How a feature's values fall into bins."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class Feature:
    """Bins of one feature and the proportions that the reference had in them.

    `index` is its column in the profiled tensor, flattened beyond the batch. There is one more bin of values than
    `edges`:

    - numeric: `edges` are the inner cuts, bin i holds edges[i-1] <= x < edges[i], and the end bins are open.
      Outside [low, high) a value is counted as out of range besides.
    - categorical: bin i holds the values equal to edges[i], the last bin all others; `low` and `high` are null.

    Where values were missing (NaN) in the reference, one more bin, after those of values, is theirs.
    """

    name: str
    index: int
    kind: FeatureKind
    edges: tuple[float, ...]
    proportions: tuple[float, ...]
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        check_label("name", self.name)
        require(self.index >= 0, "index", "must not be negative")
        require(self.edges, "edges", "must not be empty")
        rising = all(a < b for a, b in zip(self.edges, self.edges[1:], strict=False))
        require(rising, "edges", "must rise strictly")
        bins = (self.value_bins, self.value_bins + 1)
        require(len(self.proportions) in bins, "proportions", "must be one more than the edges, two with a missing bin")
        _proportions("proportions", self.proportions)
        if self.kind is FeatureKind.CATEGORICAL:
            require(self.low is None and self.high is None, "low", "low and high must be null for categories")
        elif self.low is None or self.high is None:
            refuse("low", "low and high must be numbers for a numeric feature")
        else:
            require(self.low <= self.edges[0], "low", "must not lie above the first edge")
            require(self.high >= self.edges[-1], "high", "must not lie below the last edge")

    @property
    def value_bins(self) -> int:
        """Number of bins of values: all, but for the one of missing values."""
        return len(self.edges) + 1

    @property
    def missing(self) -> float | None:
        """Proportion of missing values in the reference; None: there were none, and no bin is theirs."""
        return self.proportions[-1] if len(self.proportions) > self.value_bins else None


@dataclass(frozen=True, slots=True)
class Profile:
    """The reference profile: what the inputs and the answers looked like in training.

    `rows` is the number of reference rows (n_ref of the drift test). `classes` holds the proportion of each class: as
    labelled where the profile was made from a file with labels, else as the model itself answered the reference.
    `prediction` holds the bins of a regression's predictions. `id` is a short digest of the rest.
    """

    id: str
    input: str
    rows: int
    features: tuple[Feature, ...]
    classes: Mapping[str, float] | None
    prediction: Feature | None

    @classmethod
    def of(
        cls,
        input_name: str,
        rows: int,
        features: tuple[Feature, ...],
        classes: Mapping[str, float] | None,
        prediction: Feature | None,
    ) -> Self:
        """A profile with the id that belongs to its content."""
        content_id = _profile_id(input_name, rows, features, classes, prediction)
        return cls(content_id, input_name, rows, features, classes, prediction)

    def __post_init__(self) -> None:
        check_tensor_name("input", self.input)
        require(self.rows > 0, "rows", "must be positive")
        require(len(self.features) <= MAX_FEATURES, "features", f"at most {MAX_FEATURES} features")
        check_unique("features", (feature.name for feature in self.features))
        check_unique("features", (f"index {feature.index}" for feature in self.features))
        if self.classes is not None:
            for name in self.classes:
                check_label("classes", name)
            _proportions("classes", self.classes.values())
        content_id = _profile_id(self.input, self.rows, self.features, self.classes, self.prediction)
        require(self.id == content_id, "id", "does not belong to this content: it was edited")


def _profile_id(*content: object) -> str:
    return hashlib.sha256(encode(content)).hexdigest()[:12]


def _proportions(field: str, values: Iterable[float]) -> None:
    shares = tuple(values)
    require(all(0 <= share <= 1 for share in shares), field, "must lie between 0 and 1")
    require(abs(math.fsum(shares) - 1) < 1e-3, field, f"must add up to 1, not {math.fsum(shares):.4f}")
