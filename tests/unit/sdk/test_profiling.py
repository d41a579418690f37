"""From tables to summaries: sampling, counts, bins, labels, and what is left out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossfade.manifest import DType, TensorSpec
from crossfade.profile import ProfileError, build_profile
from crossfade.profiling import Summary, TableError, Wishes, open_table, summarise
from crossfade.profiling.gathering import DEFAULT_BOUNDS, Bounds
from crossfade.profiling.labelled_table import with_labels
from crossfade.profiling.sampling import RowSample
from crossfade.profiling.summary import Bin, FeatureSummary
from crossfade.reference_profile import FeatureKind
from crossfade.strict_json import FieldError

_NO_WISHES = Wishes()


def of_csv(
    folder: Path,
    text: str,
    wishes: Wishes = _NO_WISHES,
    bounds: Bounds = DEFAULT_BOUNDS,
    chunk_cells: int = 1_000,
) -> Summary:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    table = open_table(folder / "t.csv", chunk_cells=chunk_cells)
    return summarise(table, "t.csv", wishes, bounds=bounds)


def of_array(
    folder: Path, array: NDArray[np.generic], wishes: Wishes = _NO_WISHES, bounds: Bounds = DEFAULT_BOUNDS
) -> Summary:
    np.save(folder / "t.npy", array)
    return summarise(open_table(folder / "t.npy"), "t.npy", wishes, bounds=bounds)


def column(*cells: object, name: str = "a") -> str:
    return f"{name}\n" + "".join(f"{cell}\n" for cell in cells)


def only(summary: Summary) -> FeatureSummary:
    (feature,) = summary.features
    return feature


def test_few_rows_are_all_kept_in_their_order() -> None:
    sample = RowSample(10, 1, seed=0)
    sample.add(np.arange(4.0)[:, None])
    sample.add(np.arange(4.0, 7.0)[:, None])
    assert sample.rows()[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_a_sample_does_not_depend_on_the_chunks() -> None:
    rows = np.arange(10_000.0)[:, None]
    kept = []
    for step in (1, 7, 999, 10_000):
        sample = RowSample(100, 1, seed=3)
        for start in range(0, len(rows), step):
            sample.add(rows[start : start + step])
        kept.append(sample.rows()[:, 0].tolist())
    assert kept[0] == kept[1] == kept[2] == kept[3]
    assert len(set(kept[0])) == 100
    assert kept[0] == sorted(kept[0])


def test_each_row_is_as_likely_as_any_other() -> None:
    taken = np.zeros(50)
    for seed in range(2_000):
        sample = RowSample(10, 1, seed)
        for start in range(0, 50, 5):
            sample.add(np.arange(start, start + 5.0)[:, None])
        taken[sample.rows()[:, 0].astype(int)] += 1
    # 2,000 draws at one in five: a standard deviation of 18.
    assert np.abs(taken - 400).max() < 4 * 18


def test_a_summary_has_the_bins_that_package_makes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = np.column_stack((rng.normal(size=500), np.where(rng.random(500) < 0.6, 0, rng.integers(1, 40, 500))))
    array[:25, 0] = np.nan

    summary = of_array(tmp_path, array)

    assert summary.profile == build_profile(TensorSpec("input", DType.FP64, (-1, 2)), array)
    assert summary.profile is not None
    assert summary.profile.features[0].missing == 0.05


def test_a_tied_value_has_a_bin_of_its_own(tmp_path: Path) -> None:
    feature = only(of_csv(tmp_path, column(*[0] * 60, *range(1, 41))))
    assert feature.bins[0] == Bin(0.6, "value", 0.0, 0.0)
    assert (feature.bins[1].what, feature.bins[1].least) == ("range", 1.0)
    assert sum(one.share for one in feature.bins) == pytest.approx(1)


def test_missing_and_infinite_values_are_counted(tmp_path: Path) -> None:
    feature = only(of_csv(tmp_path, column(*range(1, 91), *['""'] * 3, *["NA"] * 2, *["NaN"] * 3, "inf", "-inf")))
    assert (feature.missing, feature.infinite) == (0.08, 2)
    assert (feature.least, feature.median, feature.greatest) == (1.0, 45.5, 90.0)
    assert feature.bins[-1] == Bin(round(8 / 98, 6), "missing")


def test_of_many_rows_a_sample_makes_the_bins_and_counts_stay_exact(tmp_path: Path) -> None:
    rows = "".join(f"{'' if n % 4 == 0 else n},{'yes' if n == 77 else 'no'}\n" for n in range(20_000))

    summary = of_csv(tmp_path, "a,y\n" + rows, Wishes(label="y"), Bounds(rows=2_000))
    feature = only(summary)

    assert (summary.rows, summary.sampled) == (20_000, 2_000)
    assert (feature.missing, feature.least, feature.greatest) == (0.25, 1.0, 19_999.0)
    assert summary.label is not None
    assert summary.label.classes == {"no": 0.99995, "yes": 0.00005}
    assert summary.profile is not None
    assert summary.profile.rows == 2_000
    # 2,000 draws at one in four: four standard deviations are 0.039.
    assert summary.profile.features[0].missing == pytest.approx(0.25, abs=0.039)
    assert feature.median == pytest.approx(10_000, abs=1_200)


def test_wide_rows_have_a_smaller_sample(tmp_path: Path) -> None:
    assert of_array(tmp_path, np.random.default_rng(0).normal(size=(90, 4)), bounds=Bounds(cells=120)).sampled == 30


def test_texts_are_shown_and_need_numbers_to_be_watched(tmp_path: Path) -> None:
    text = column(*["basic"] * 12, *["pro"] * 6, *["n/a"] * 2, name="plan")

    shown = of_csv(tmp_path, text)
    assert only(shown).bins == (Bin(0.6, "value", text="basic"), Bin(0.3, "value", text="pro"), Bin(0.1, "missing"))
    assert shown.profile is None
    assert shown.obstacle.startswith("plan holds texts, and a model takes numbers: say which number")
    assert "--codes plan=A,B,C" in shown.obstacle

    coded = of_csv(tmp_path, text, Wishes(codes={"plan": ["team", "pro", "basic"]}))
    feature = only(coded).feature
    assert feature is not None
    assert (feature.kind, feature.edges, feature.proportions) == (
        FeatureKind.CATEGORICAL,
        (1.0, 2.0),
        (0.3, 0.6, 0.0, 0.1),
    )
    assert only(coded).bins[0] == Bin(0.6, "value", 2.0, 2.0, "basic")


def test_categories_are_numbers_where_all_of_them_are(tmp_path: Path) -> None:
    feature = only(of_csv(tmp_path, column(*["1"] * 5, *["1.0"] * 5, *["7"] * 10), Wishes(categorical=["a"])))
    assert feature.feature is not None
    assert (feature.kind, feature.values) == (FeatureKind.CATEGORICAL, 2)
    assert (feature.feature.edges, feature.feature.proportions) == ((1.0, 7.0), (0.5, 0.5, 0.0))


def test_rare_categories_share_a_bin(tmp_path: Path) -> None:
    text = column(*[f"k{n % 64}" for n in range(640)], *[f"rare{n}" for n in range(40)])
    feature = only(of_csv(tmp_path, text))
    assert feature.values == 104
    assert feature.bins[-1] == Bin(40 / 680, "other")
    assert len(feature.bins) == 65


def test_more_texts_than_can_be_counted_are_no_categories(tmp_path: Path) -> None:
    feature = only(of_csv(tmp_path, column(*[f"id-{n}" for n in range(200)]), bounds=Bounds(values=50)))
    assert (feature.values, feature.bins, feature.missing) == (None, (), 0.0)


def test_truths_are_categories(tmp_path: Path) -> None:
    feature = only(of_csv(tmp_path, column(*["true"] * 6, *["False"] * 4)))
    assert feature.feature is not None
    assert (feature.feature.edges, feature.feature.proportions) == ((0.0, 1.0), (0.4, 0.6, 0.0))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no"] * 15 + ["yes"] * 5, {"no": 0.75, "yes": 0.25}),
        (["0"] * 5 + ["1.0"] * 15, {"1": 0.75, "0": 0.25}),
        (["1"] * 10 + ["0"] * 5 + ["nan"] * 5, {"1": 0.666667, "0": 0.333333}),
        ([str(n / 4) for n in range(20)], None),
    ],
)
def test_the_label_has_its_class_balance(tmp_path: Path, labels: Sequence[str], classes: dict[str, float]) -> None:
    text = "y,a\n" + "".join(f"{label},{n}\n" for n, label in enumerate(labels))
    summary = of_csv(tmp_path, text, Wishes(label="y"))
    assert summary.label is not None
    assert summary.label.classes == classes
    assert summary.profile is not None
    assert summary.profile.classes == classes
    assert (summary.width, only(summary).index) == (1, 0)


def test_a_label_of_numbers_shows_its_extremes(tmp_path: Path) -> None:
    text = "a,y\n" + "".join(f"{n},{n / 4}\n" for n in range(21))
    label = of_csv(tmp_path, text, Wishes(label="y")).label
    assert label is not None
    assert (label.least, label.median, label.greatest) == (0.0, 2.5, 5.0)


def test_features_keep_their_place_in_the_input(tmp_path: Path) -> None:
    text = "id,a,y,b,c\n" + "".join(f"{n},{n},{n % 2},{n * 2},{n * 3}\n" for n in range(20))
    summary = of_csv(tmp_path, text, Wishes(label="y", exclude=["id"], features=["c", "a"]))
    assert [(one.name, one.index) for one in summary.features] == [("c", 2), ("a", 0)]
    assert summary.width == 3


def test_positions_name_the_columns_of_an_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 9, (50, 4))
    summary = of_array(tmp_path, array, Wishes(label="3", exclude=["0"], categorical=["2"]))
    assert [(one.name, one.index, one.kind.value) for one in summary.features] == [
        ("input[0]", 0, "numeric"),
        ("input[1]", 1, "categorical"),
    ]
    assert not summary.named


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([0, 1, 1, 1] * 5), {"1": 0.75, "0": 0.25}),
        (np.array(["no", "yes", "", "yes"] * 5)[:, None], {"yes": 0.666667, "no": 0.333333}),
    ],
)
def test_labels_may_lie_in_a_file_beside_the_array(
    tmp_path: Path, labels: NDArray[np.generic], classes: dict[str, float]
) -> None:
    array = np.random.default_rng(0).normal(size=(20, 2, 3))
    np.save(tmp_path / "x.npy", array)
    np.save(tmp_path / "y.npy", labels)
    table = with_labels(open_table(tmp_path / "x.npy", chunk_cells=20), tmp_path / "y.npy")

    summary = summarise(table, "x.npy", Wishes(label=table.label))

    assert summary.label is not None
    assert (summary.label.name, summary.label.classes) == ("y.npy", classes)
    assert summary.width == 6
    made = build_profile(TensorSpec("input", DType.FP64, (-1, 2, 3)), array)
    assert summary.profile is not None
    assert summary.profile.features == made.features


def test_labels_beside_must_fit_the_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 2)))
    (tmp_path / "t.csv").write_text("a\n1\n")
    for labels, message in (
        (np.zeros(19), "y.npy has 19 labels for 20 rows"),
        (np.zeros((20, 2)), "y.npy has 2 columns; labels are one"),
        (np.zeros(20, dtype="M8[s]"), "y.npy holds datetime64"),
    ):
        np.save(tmp_path / "y.npy", labels)
        with pytest.raises(TableError, match=message):
            with_labels(open_table(tmp_path / "x.npy"), tmp_path / "y.npy")
    with pytest.raises(TableError, match=r"a file of labels goes with a .npy file: name a column of the csv file"):
        with_labels(open_table(tmp_path / "t.csv"), tmp_path / "y.npy")


def test_of_many_columns_64_are_watched_and_the_others_are_named(tmp_path: Path) -> None:
    summary = of_array(tmp_path, np.random.default_rng(0).normal(size=(20, 10, 10)))
    (left_out,) = summary.left_out
    assert (len(summary.features), len(left_out.names)) == (64, 36)
    assert summary.features[-1].name == "input[9,9]"
    assert "choose: --features a,b,c" in left_out.why
    assert summary.profile == build_profile(TensorSpec("input", DType.FP64, (-1, 10, 10)), np.load(tmp_path / "t.npy"))


def test_what_cannot_be_watched_is_left_out_and_said(tmp_path: Path) -> None:
    text = "a,still,empty\n" + "".join(f"{n},7,\n" for n in range(20))
    summary = of_csv(tmp_path, text)
    assert [(one.why, one.names) for one in summary.left_out] == [
        ("no value in any row", ("empty",)),
        ("never changes", ("still",)),
    ]
    assert only(summary).name == "a"
    for name, why in (("still", "never changes"), ("empty", "has no value in any row")):
        with pytest.raises(ProfileError, match=f"--features: '{name}' {why}"):
            of_csv(tmp_path, text, Wishes(features=[name]))


def test_a_file_in_which_nothing_changes_gives_no_profile(tmp_path: Path) -> None:
    summary = of_csv(tmp_path, column(*[1] * 20))
    assert summary.profile is None
    assert summary.obstacle == "no column has values that change: nothing can be watched"


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
    [
        (Wishes(label="chrned"), TableError, "--label: there is no column 'chrned'; did you mean churned"),
        (Wishes(exclude=["zzz"]), TableError, "--exclude: there is no column 'zzz'; the file has age, plan, churned"),
        (Wishes(exclude=["age", "plan", "churned", "empty"]), TableError, "no column is left"),
        (Wishes(label="age", exclude=["age"]), TableError, "is the label, which is no input anyway"),
        (Wishes(label="age", features=["age"]), TableError, "--features: 'age' is the label or excluded"),
        (Wishes(codes={"plan": ["x", "x"]}), TableError, "--codes: 'plan' has a text twice"),
        (Wishes(codes={"plan": ["None", "x"]}), TableError, "--codes: 'None' says in a file that a value of 'plan' is"),
        (Wishes(codes={"plan": ["x"]}), ProfileError, "--codes: 'plan' has 'y' besides: name every text"),
        (Wishes(codes={"age": ["x"]}), ProfileError, "--codes: 'age' holds numbers already"),
        (Wishes(label="empty"), ProfileError, "--label: 'empty' has no value in any row"),
    ],
)
def test_wrong_wishes_are_refused(tmp_path: Path, wishes: Wishes, error: type[Exception], message: str) -> None:
    text = "age,plan,churned,empty\n" + "".join(f"{n},{'xy'[n % 2]},{n % 2},\n" for n in range(20))
    with pytest.raises(error, match=message):
        of_csv(tmp_path, text, wishes)


def test_65_chosen_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="65 were chosen; a profile holds at most 64"):
        of_array(tmp_path, np.zeros((20, 70)), Wishes(features=[str(n) for n in range(65)]))
    with pytest.raises(TableError, match="'70' is no column: the file has no names, so say positions, 0 to 69"):
        of_array(tmp_path, np.zeros((20, 70)), Wishes(features=["70"]))


def test_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"t.csv has 9 rows, which say too little: give at least 10"):
        of_csv(tmp_path, column(*range(9)))


def test_a_name_that_is_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="1 to 128 printable characters"):
        of_csv(tmp_path, column(*range(20), name="x" * 129))
