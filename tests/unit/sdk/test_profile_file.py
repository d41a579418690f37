"""The file of a profile, and how it is fitted to a model."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from crossfade.artifact.fitting import fit_profile
from crossfade.binner import bin_rows
from crossfade.profile import ProfileError
from crossfade.profiling import ProfileFile, Wishes, open_table, profile_file, read_profile, summarise, write_profile
from crossfade.profiling.profile_file import Names
from crossfade.reference_profile import Feature, FeatureKind, Profile
from crossfade.tensor_spec import DType, TensorSpec

_AGE = Feature("age", 0, FeatureKind.NUMERIC, (30.0, 50.0), (0.3, 0.4, 0.2, 0.1), 0.0, 90.0)
_PLAN = Feature("plan", 2, FeatureKind.CATEGORICAL, (0.1, 7.0), (0.6, 0.4, 0.0), None, None)


def file(
    *features: Feature, classes: dict[str, float] | None = None, names: Names = Names.FILE, width: int = 3
) -> ProfileFile:
    profile = Profile.of("input", 100, features or (_AGE, _PLAN), classes, None)
    return ProfileFile(1, "test", "train.csv", None, names, width, profile)


def spec(width: int = 3, dtype: DType = DType.FP32, name: str = "x") -> TensorSpec:
    return TensorSpec(name, dtype, (-1, width))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for made in (file(), file(classes={"no": 0.75, "yes": 0.25}, names=Names.POSITIONS)):
        write_profile(tmp_path / "p.json", made)
        assert read_profile(tmp_path / "p.json") == made
    assert [one.name for one in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "no JSON at line 1"),
        (b"{}", "format_version: must be 1"),
        (b'{"format_version": 2, "profile": {}}', "is newer than this crossfade reads: upgrade it"),
        (b'{"format_version": 1, "profile": {}}', "missing"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(ProfileError, match=message):
        read_profile(tmp_path / "p.json")


def test_an_edited_or_absent_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        read_profile(path)
    write_profile(path, file())
    value = json.loads(path.read_bytes())
    value["profile"]["rows"] = 10_000
    path.write_text(json.dumps(value))
    with pytest.raises(ProfileError, match=r"profile\.id: does not belong to this content: it was edited"):
        read_profile(path)
    with pytest.raises(ProfileError, match="cannot be written"):
        write_profile(tmp_path / "absent" / "p.json", file())


def test_columns_are_those_of_the_input_in_their_order() -> None:
    fitted = fit_profile(file(), spec(), None)
    assert (fitted.input, fitted.rows) == ("x", 100)
    assert [(one.name, one.index) for one in fitted.features] == [("age", 0), ("plan", 2)]
    assert fitted.id != file().profile.id


def test_with_names_of_the_columns_features_are_looked_up() -> None:
    fitted = fit_profile(file(), spec(4), None, ["plan", "b", "c", "age"])
    assert [(one.name, one.index) for one in fitted.features] == [("age", 3), ("plan", 0)]
    with pytest.raises(ProfileError, match=r"the input has no column 'plan': did you mean plans\?"):
        fit_profile(file(), spec(), None, ["age", "plans", "c"])
    with pytest.raises(ProfileError, match="2 names for the 3 columns"):
        fit_profile(file(), spec(), None, ["age", "plan"])


def test_another_number_of_columns_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"train.csv has 3 columns .* the input 'x' has 2: exclude what is no input"):
        fit_profile(file(), spec(2), None)


def test_features_by_position_are_named_as_package_names_them() -> None:
    image = TensorSpec("pixels", DType.FP32, (-1, 1, 3))
    fitted = fit_profile(file(names=Names.POSITIONS), image, None)
    assert [one.name for one in fitted.features] == ["pixels[0,0]", "pixels[0,2]"]
    named = fit_profile(file(names=Names.POSITIONS), image, None, ["a", "b", "c"])
    assert [one.name for one in named.features] == ["a", "c"]
    for width in (2, 4):
        with pytest.raises(ProfileError, match=f"has 3 columns .* has {width}: exclude what is no input"):
            fit_profile(file(names=Names.POSITIONS), spec(width), None, [f"c{number}" for number in range(width)])


def test_numbers_are_told_apart_as_the_input_s_type_does() -> None:
    epoch = dataclasses.replace(_AGE, edges=(1.7e9, 1.7e9 + 10), low=1.6e9, high=1.8e9)
    with pytest.raises(ProfileError, match="values that the bins tell apart of 'age' are one and the same in FP32"):
        fit_profile(file(epoch, _PLAN), spec(), None)
    with pytest.raises(ProfileError, match=r"or too large for it \(about 1.7e\+09\)"):
        fit_profile(file(epoch, _PLAN), spec(dtype=DType.FP16), None)
    fine = dataclasses.replace(_AGE, edges=(0.1, 0.2), low=0.0, high=1.0)
    fitted = fit_profile(file(fine, _PLAN), spec(), None)
    assert fitted.features[0].edges == (float(np.float32(0.1)), float(np.float32(0.2)))


@pytest.mark.parametrize(("dtype", "numpy_type"), [(DType.FP32, np.float32), (DType.FP16, np.float16)])
def test_categories_are_those_that_workers_see(dtype: DType, numpy_type: type[np.floating]) -> None:
    fitted = fit_profile(file(), spec(dtype=dtype), None)
    arrived = np.array([[40.0, 0.0, 0.1], [np.nan, 0.0, 7.0], [40.0, 0.0, 8.0]], numpy_type)
    assert bin_rows(fitted, arrived).bins.tolist() == [[0, 2, 0, 1], [1, 1, 1, 0]]


def test_categories_in_bf16_are_rounded_to_eight_bits() -> None:
    fitted = fit_profile(file(), spec(dtype=DType.BF16), None)
    assert fitted.features[1].edges == (0.10009765625, 7.0)


@pytest.mark.parametrize(
    ("feature", "dtype", "message"),
    [
        (_AGE, DType.INT64, "'age' is missing in 10 % of the rows, and the input 'x' takes INT64"),
        (_PLAN, DType.INT32, "'plan' has the category 0.1, and the input 'x' takes INT32"),
        (
            dataclasses.replace(_AGE, edges=(30.0, 300.0), proportions=(0.3, 0.4, 0.3), high=900.0),
            DType.UINT8,
            r"'age' has values about 300, and the input 'x' takes UINT8 \(0 to 255\)",
        ),
        (
            dataclasses.replace(_PLAN, edges=(0.0, 7.0)),
            DType.BOOL,
            r"'plan' has values about 7, and the input 'x' takes BOOL \(0 to 1\)",
        ),
        (
            dataclasses.replace(_PLAN, edges=(1.0, 1.0000001)),
            DType.FP16,
            "categories of 'plan' are one and the same in FP16",
        ),
        (dataclasses.replace(_PLAN, edges=(1.0, 1e6)), DType.FP16, "or too large for it"),
    ],
)
def test_values_that_the_input_cannot_hold_are_refused(feature: Feature, dtype: DType, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        fit_profile(file(feature), spec(dtype=dtype), None)


def test_class_balance_is_by_the_model_s_classes() -> None:
    by_name = fit_profile(file(classes={"yes": 0.25, "no": 0.75}), spec(), ["no", "yes", "maybe"])
    by_number = fit_profile(file(classes={"1": 0.25, "0": 0.75}), spec(), ["no", "yes"])
    assert by_name.classes == {"no": 0.75, "yes": 0.25, "maybe": 0.0}
    assert by_number.classes == {"no": 0.75, "yes": 0.25}
    assert fit_profile(file(), spec(), ["no", "yes"]).classes is None
    with pytest.raises(ProfileError, match=r"the label has the class '2', which the model does not have \(no, yes\)"):
        fit_profile(file(classes={"1": 0.25, "2": 0.75}), spec(), ["no", "yes"])
    with pytest.raises(ProfileError, match="the model is no classification: make the profile without --label"):
        fit_profile(file(classes={"1": 1.0}), spec(), None)


def test_a_summary_becomes_a_file(tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_text("a,b,y\n" + "".join(f"{n},{n % 3},{n % 2}\n" for n in range(30)))
    made = profile_file(summarise(open_table(data), "t.csv", Wishes(label="y"), "x"))
    assert (made.source, made.input, made.names, made.width) == ("t.csv", "x", Names.FILE, 2)
    assert made.profile.input == "x"
    data.write_text("a\n" + "1\n" * 30)
    with pytest.raises(ProfileError, match=r"no profile can be made of t.csv: no column has values that change"):
        profile_file(summarise(open_table(data), "t.csv", Wishes()))
