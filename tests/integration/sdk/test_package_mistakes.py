"""What is no module, no array or no folder is refused with what to give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from crossfade.artifact import PackageError, package

ROWS = np.random.default_rng(0).normal(size=(20, 4))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("model.pkl", r"not a path \('model.pkl'\): load the model and give it"),
        (Path("model.pkl"), "not a path"),
        (abs, "not a builtin_function_or_method"),
        (nn.Linear, "not the class Linear: give an instance"),
        (nn.Linear(4, 2).state_dict(), "not a dict: load a state dict into its module"),
        (None, "not a NoneType"),
    ],
)
def test_what_is_no_module_is_named(module: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=rf"^module: it must be a torch\.nn\.Module, {said}"):
        package(module, example=ROWS, to=tmp_path / "m")
    assert not list(tmp_path.iterdir())


class Estimator:
    """As other libraries have them."""

    def predict(self, rows: Any) -> Any:
        return rows


def test_a_model_of_another_library_is_none(tmp_path: Path) -> None:
    other: Any = Estimator()
    with pytest.raises(PackageError, match="not a Estimator: models of other libraries must be written as one"):
        package(other, example=ROWS, to=tmp_path / "m")


@pytest.mark.parametrize("what", ["example", "reference", "golden"])
@pytest.mark.parametrize("rows", [ROWS.tolist(), [tuple(row) for row in ROWS.tolist()], [1.0, 2.0]])
def test_a_list_of_rows_is_no_array(what: str, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=rf"^{what}: a list of rows is no array: .*numpy\.asarray\(X, 'float32'\)"):
        package(nn.Linear(4, 2), to=tmp_path / "m", **({"example": ROWS} | {what: rows}))


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, reason in (
        (Path("/proc/foo"), "No such file"),
        (tmp_path / "file" / "m", "(Not a directory|File exi)"),
    ):
        with pytest.raises(PackageError, match=rf"^{folder} can't be written: {reason}.*; choose another folder$"):
            package(nn.Linear(4, 2), example=ROWS, to=folder)


def test_an_artifact_is_shown_in_a_line(tmp_path: Path) -> None:
    made = package(nn.Linear(4, 2), example=ROWS, to=tmp_path / "m", classes=["keep", "churn"])
    digest = made.digest.removeprefix("sha256:")[:12]
    assert repr(made) == f"<Artifact {tmp_path}/m: classification of 2 classes, {made.size:,} bytes, sha256:{digest}…>"
