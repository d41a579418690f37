"""Profiles of a reference: which columns they take, and their bins."""

import numpy as np
import pytest

from crossfade.binner import Binner, bin_rows
from crossfade.profile import ProfileError, build_profile
from crossfade.reference_profile import FeatureKind
from crossfade.tensor_spec import DType
from tests.unit.sdk.columns import INF, NAN, RANGE, column, spec


def test_bins_of_a_smooth_feature_are_deciles() -> None:
    values = np.random.default_rng(0).normal(size=5000)

    feature = column(values)

    np.testing.assert_allclose(feature.proportions, 0.1, atol=1e-3)
    np.testing.assert_allclose(feature.edges, np.quantile(values, np.arange(1, 10) / 10), atol=0.01)


def test_the_number_of_bins_can_be_chosen() -> None:
    feature = column(np.arange(1000.0), bins=4)

    assert feature.edges == (249.5, 499.5, 749.5)
    assert feature.proportions == (0.25, 0.25, 0.25, 0.25)


def test_a_value_heavier_than_a_bin_stands_alone() -> None:
    # 60 % zeros in the middle of values on both sides.
    values = np.concatenate((np.zeros(600), np.linspace(-2, -1, 200), np.linspace(1, 2, 200)))

    feature = column(values)
    own = int(np.searchsorted(feature.edges, 0.0, side="right"))

    assert feature.edges[own - 1 : own + 1] == (-0.5, 0.5)
    assert feature.proportions[own] == 0.6
    np.testing.assert_allclose(np.delete(feature.proportions, own), 0.1, atol=1e-3)


def test_neighbouring_tied_values_each_stand_alone() -> None:
    feature = column(np.repeat([0.0, 1.0, 2.0, 7.0], [50, 30, 18, 2]))

    assert feature.edges == (0.5, 1.5, 4.5)
    assert feature.proportions == (0.5, 0.3, 0.18, 0.02)


def test_a_rare_second_value_gets_a_bin() -> None:
    feature = column(np.array([0.0] * 999 + [1.0]))

    assert feature.edges == (0.5,)
    assert feature.proportions == (0.999, 0.001)


def test_neighbouring_floating_point_numbers_are_kept_apart() -> None:
    next_to_one = np.nextafter(1.0, 2.0)

    feature = column(np.array([1.0, next_to_one] * 10))

    assert feature.edges == (next_to_one,)
    assert feature.proportions == (0.5, 0.5)


def test_the_range_reaches_one_width_beyond_the_reference() -> None:
    feature = column(np.linspace(10, 20, 100))

    assert (feature.low, feature.high) == (0.0, 30.0)


def test_the_range_of_huge_values_stays_finite() -> None:
    feature = column(np.array([-1.5e308, 1.5e308] * 10))

    assert feature.low == -np.finfo(np.float64).max
    assert feature.high == np.finfo(np.float64).max


def test_constant_columns_are_dropped_and_the_others_keep_their_place() -> None:
    reference = np.column_stack((np.ones(20), np.arange(20.0), np.full(20, np.nan), np.arange(20.0) % 2))

    profile = build_profile(spec(4), reference)

    assert [(feature.name, feature.index) for feature in profile.features] == [("input[1]", 1), ("input[3]", 3)]


def test_a_reference_that_never_changes_gives_a_profile_without_features() -> None:
    profile = build_profile(spec(3), np.ones((20, 3)))
    counts = bin_rows(profile, np.ones((4, 3)))

    assert profile.features == ()
    assert counts.bins.size == counts.invalid.size == 0


def test_of_many_columns_64_evenly_spaced_ones_are_taken() -> None:
    reference = np.random.default_rng(0).normal(size=(30, 3, 20, 20))

    profile = build_profile(spec(3, 20, 20), reference)
    columns = [feature.index for feature in profile.features]

    assert len(columns) == 64
    assert (columns[0], columns[-1]) == (0, 1199)
    assert set(np.diff(columns)) <= {18, 19, 20}
    assert profile.features[-1].name == "input[2,19,19]"


def test_columns_can_be_chosen_by_name_or_position() -> None:
    reference = np.random.default_rng(0).normal(size=(30, 100))
    names = [f"c{i}" for i in range(100)]

    profile = build_profile(spec(100), reference, names=names, features=["c7", 90])

    assert [(feature.name, feature.index) for feature in profile.features] == [("c7", 7), ("c90", 90)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["age"]}, "'age' is no feature"),
        ({"features": [3]}, "3 is no feature"),
        ({"categorical": [-1]}, "-1 is no feature"),
        ({"names": ["a", "b"]}, "2 names for the 3 columns"),
    ],
)
def test_a_column_that_is_not_there_is_refused(options: dict[str, list[str | int]], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        build_profile(spec(3), np.ones((20, 3)), **options)  # type: ignore[arg-type]  # one option of many


def test_more_than_64_chosen_columns_are_refused() -> None:
    with pytest.raises(ProfileError, match="65 were chosen; a profile holds at most 64"):
        build_profile(spec(100), np.ones((20, 100)), features=range(65))


def test_a_reference_of_few_rows_is_refused() -> None:
    with pytest.raises(ProfileError, match="give at least 10"):
        build_profile(spec(3), np.ones((9, 3)))


def test_categories_are_bins_and_others_have_one_of_their_own() -> None:
    feature = column(np.repeat([3.0, 1.0, 8.0], [70, 20, 10]), categorical=[0])

    assert feature.kind is FeatureKind.CATEGORICAL
    assert feature.edges == (1.0, 3.0, 8.0)
    assert feature.proportions == (0.2, 0.7, 0.1, 0.0)
    counts = Binner((feature,)).count(np.array([[1.0], [3.0], [2.0], [99.0], [np.nan], [np.inf], [3.0]]))
    assert counts.bins.tolist() == [[1, 2, 0, 2]]
    assert counts.invalid[0, [NAN, INF, RANGE]].tolist() == [1, 1, 0]


def test_rare_categories_are_put_together() -> None:
    values = np.concatenate((np.repeat(np.arange(64.0), 10), np.arange(100.0, 140.0)))

    feature = column(values, categorical=[0])

    assert feature.edges == tuple(np.arange(64.0))
    assert feature.proportions[-1] == pytest.approx(40 / 680, abs=1e-6)


def test_booleans_are_categories() -> None:
    reference = np.array([[False, True], [True, True]] * 8)

    profile = build_profile(spec(2, dtype=DType.BOOL), reference)

    assert [feature.kind for feature in profile.features] == [FeatureKind.CATEGORICAL]
    assert bin_rows(profile, np.array([[True, True], [True, False], [False, False]])).bins.tolist() == [[1, 2, 0]]


def test_predictions_of_a_regression_get_bins() -> None:
    predictions = np.arange(100.0).reshape(100, 1)

    profile = build_profile(spec(1), np.arange(100.0).reshape(100, 1), predictions=predictions)

    assert profile.prediction is not None
    assert Binner((profile.prediction,)).count(predictions).bins.tolist() == [[10] * 10]


def test_missing_values_of_the_reference_have_the_last_bin() -> None:
    values = np.append(np.arange(90.0), [np.nan] * 10)

    feature = column(values, bins=3)
    counts = Binner((feature,)).count(np.array([[np.nan], [0.0], [np.nan], [np.inf], [89.0]]))

    assert feature.edges == (29.5, 59.5)
    assert feature.proportions == (0.3, 0.3, 0.3, 0.1)
    assert (feature.value_bins, feature.missing) == (3, 0.1)
    assert counts.bins.tolist() == [[1, 0, 1, 2]]
    assert counts.invalid[0, [NAN, INF, RANGE]].tolist() == [2, 1, 0]


def test_missing_categories_are_not_the_other_ones() -> None:
    feature = column(np.repeat([1.0, 3.0, np.nan], [50, 30, 20]), categorical=[0])

    assert feature.proportions == (0.5, 0.3, 0.0, 0.2)
    assert Binner((feature,)).count(np.array([[3.0], [9.0], [np.nan]])).bins.tolist() == [[0, 1, 1, 1]]


def test_without_missing_values_in_the_reference_no_bin_is_theirs() -> None:
    feature = column(np.arange(100.0))

    assert feature.missing is None
    assert not Binner((feature,)).count(np.full((3, 1), np.nan)).bins.any()


def test_a_prediction_has_no_bin_of_missing_values() -> None:
    predictions = np.append(np.arange(99.0), np.nan)

    profile = build_profile(spec(1), np.arange(100.0).reshape(100, 1), predictions=predictions)

    assert profile.prediction is not None
    assert profile.prediction.missing is None


def test_the_reference_itself_falls_into_its_proportions() -> None:
    rng = np.random.default_rng(1)
    reference = np.column_stack((rng.normal(size=700), rng.integers(0, 17, 700), rng.integers(0, 3, 700)))

    profile = build_profile(spec(3), reference, categorical=[2])
    counts = bin_rows(profile, reference)

    for feature, bins in zip(profile.features, counts.bins, strict=True):
        np.testing.assert_allclose(bins[: len(feature.proportions)] / 700, feature.proportions, atol=1e-6)
    assert not counts.invalid.any()


def test_images_are_flattened() -> None:
    images = np.random.default_rng(2).integers(0, 17, (50, 1, 8, 8)).astype(np.uint8)

    profile = build_profile(spec(1, 8, 8, dtype=DType.UINT8), images)

    assert profile.features[63].name == "input[0,7,7]"
    np.testing.assert_array_equal(bin_rows(profile, images).bins, bin_rows(profile, images.reshape(50, 64)).bins)


def test_the_id_follows_the_content() -> None:
    reference = np.random.default_rng(3).normal(size=(50, 2))

    first, again = (build_profile(spec(2), reference) for _ in range(2))
    other = build_profile(spec(2), reference * 2)

    assert first.id == again.id
    assert first.id != other.id
