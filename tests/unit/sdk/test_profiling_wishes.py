"""Which columns a summary watches and which is the label, by what was wished for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crossfade.profile import ProfileError, build_profile
from crossfade.profiling import TableError, Wishes, open_table, summarise
from crossfade.profiling.labelled_table import with_labels
from crossfade.strict_json import FieldError
from crossfade.tensor_spec import DType, TensorSpec
from tests.unit.sdk.summaries import column, of_array, of_csv, only


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
    text = "a,still,empty,endless,holes\n" + "".join(f"{n},7,,inf,{'5' * (n % 2)}\n" for n in range(20))
    summary = of_csv(tmp_path, text)
    assert [(one.why, one.names) for one in summary.left_out] == [
        ("no value in any row", ("empty",)),
        ("nothing but infinities", ("endless",)),
        ("never changes", ("still", "holes")),
    ]
    assert only(summary).name == "a"
    reasons = (
        ("still", "never changes"),
        ("empty", "has no value in any row"),
        ("endless", "has nothing but infinities"),
    )
    for name, why in reasons:
        with pytest.raises(ProfileError, match=f"--features: '{name}' {why}"):
            of_csv(tmp_path, text, Wishes(features=[name]))


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


def test_a_name_that_is_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="1 to 128 printable characters"):
        of_csv(tmp_path, column(*range(20), name="x" * 129))
