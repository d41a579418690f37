"""What a file of training data looks like: the records that `summarising` fills and the command shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from crossfade.reference_profile import Feature, FeatureKind, Profile


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin and the share of the rows in it.

    Attributes:
        share: 0 to 1.
        what: "range", "value" (one value alone), "other" (categories that have no bin) or "missing".
        least: the least value in it; None unless it is a range or a value that is a number.
        greatest: likewise.
        text: the value, where it is a text.
    """

    share: float
    what: str
    least: float | None = None
    greatest: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """One column of the model's input.

    Attributes:
        name: the feature's name, as `package` would give it.
        index: its column in the model's input.
        kind: numeric or categorical.
        missing: share of the rows without a value, 0 to 1, exact.
        infinite: rows with an infinity, exact.
        least: the least value, exact; None where the values are texts.
        median: of the sample.
        greatest: the greatest value, exact.
        values: different values; None: not counted.
        bins: of the profile; of texts without numbers those that it would have.
        feature: in the profile; None: it holds texts, and no model takes these.
    """

    name: str
    index: int
    kind: FeatureKind
    missing: float
    infinite: int
    least: float | None
    median: float | None
    greatest: float | None
    values: int | None
    bins: tuple[Bin, ...]
    feature: Feature | None


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The column of the right answers.

    Attributes:
        name: the column's.
        missing: share of the rows without one.
        classes: proportion of each class among the others, the most frequent first, exact; None: they are no classes.
        least: the least value, where they are numbers; so are the next two.
        median: of the sample.
        greatest: the greatest value.
    """

    name: str
    missing: float
    classes: Mapping[str, float] | None
    least: float | None = None
    median: float | None = None
    greatest: float | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Columns of the input that are not watched, and why."""

    why: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A file of training data.

    Attributes:
        source: the file's name.
        format: "csv", "npy" or "parquet".
        rows: of the file.
        sampled: of which the bins are made.
        input: the model's input that the columns are; None: it was not said.
        named: whether features have the file's names, or are named by position.
        width: columns of the model's input.
        features: those that are shown.
        label: the label's column; None: there is none.
        left_out: columns that are not watched.
        notes: what else to know.
        obstacle: why no profile can be made; empty: `profile` is there.
        profile: the reference profile.
    """

    source: str
    format: str
    rows: int
    sampled: int
    input: str | None
    named: bool
    width: int
    features: tuple[FeatureSummary, ...]
    label: LabelSummary | None
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    obstacle: str
    profile: Profile | None
