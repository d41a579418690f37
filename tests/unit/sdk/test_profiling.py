"""From tables to summaries: sampling, bins, counts, categories."""

from pathlib import Path

import numpy as np
import pytest

from crossfade.profile import ProfileError, build_profile
from crossfade.profiling import Wishes
from crossfade.profiling.gathering import Bounds
from crossfade.profiling.sampling import RowSample
from crossfade.profiling.summary import Bin
from crossfade.reference_profile import FeatureKind
from crossfade.tensor_spec import DType, TensorSpec
from tests.unit.sdk.summaries import column, of_array, of_csv, only


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


def test_a_file_in_which_nothing_changes_gives_no_profile(tmp_path: Path) -> None:
    summary = of_csv(tmp_path, column(*[1] * 20))
    assert summary.profile is None
    assert summary.obstacle == "no column has values that change: nothing can be watched"


def test_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"t.csv has 9 rows, which say too little: give at least 10"):
        of_csv(tmp_path, column(*range(9)))
