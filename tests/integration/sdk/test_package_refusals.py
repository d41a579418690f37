"""Modules, arguments and folders that `package` refuses, with what to change."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor

from crossfade.artifact import PackageError, package, verify
from crossfade.manifest import MAX_CLASSES
from services.common.prediction_token import NO_CLASS
from tests.integration.sdk.modules import ROWS, Casting, classifier


class Call(nn.Module):
    """A module made of a function."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


def _subclass(values: Tensor) -> Tensor:
    tensor: Tensor = TwoTensor(values, values)  # type: ignore[no-untyped-call]  # torch's own test helper
    return tensor


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Call(lambda x: x if x.abs().sum() > 0 else -x), "data-dependent .* use torch.where instead of if"),
        (Call(lambda x: torch.stack([row * 2 for row in x])), "the code fixes the number of rows"),
        (Call(lambda x: x.view(8, 4) if torch.compiler.is_exporting() else x), "the code fixes the number of rows"),
        (Call(lambda x: torch.from_numpy(x.numpy() * 2)), r"torch.export refused the module: \.numpy\(\)"),
        (Call(lambda x: x.softmax(dim=0)), "depends on the other rows of its batch"),
        (Call(lambda x: x + torch.rand_like(x)), "differently each time"),
        (Call(lambda x: x + int(torch.compiler.is_exporting())), "with a batch of 1, answers differently"),
        (Call(lambda x: x.mean()), "its first dimension must be the batch"),
        (Call(lambda x: x.repeat(2, 1)), r"the shape \[4, 4\] for 2 rows"),
        (Call(lambda x: (x - 1e9).log()), "NaN or infinite for the golden rows 0, 1, 2, 3, 4, 5, 6, 7"),
        (Call(lambda x: x @ torch.ones(5, 5)), "the module fails on its inputs: mat1 and mat2"),
        (Call(lambda x: x.tolist()), "output 'output_0' is a list, not a tensor: return a flat tuple or dict"),
        (Call(lambda x: x + torch.ones(4, device="cuda")), r"packaged on the CPU: make constants buffers"),
        (Call(lambda x: torch.nested.nested_tensor([*x])), "is a nested tensor: return its rows padded"),
        (Call(lambda x: (x, x[:, :0])), r"'output_1' has the shape \[2, 0\], and so no elements in a row"),
        (Call(lambda x: "no tensor"), r"forward\(\) returned a str"),
        (Call(lambda x: x.to_sparse()), "is a sparse tensor"),
        (Call(lambda x: x.to(torch.complex64)), "has the type torch.complex64"),
        (Call(lambda x: x * _subclass(torch.ones(4))), "torch.export refused the module: Failed serializing"),
    ],
)
def test_a_module_that_cannot_be_served_is_refused(module: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(module, example=ROWS, to=tmp_path / "m")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", [1.0, 0.0])
@pytest.mark.parametrize("function", [lambda x: x - x.mean(dim=0), lambda x: x.softmax(dim=0), lambda x: x + len(x)])
def test_one_row_shows_that_others_change_its_answer(
    function: Callable[[Tensor], Tensor], scale: float, tmp_path: Path
) -> None:
    """Such a version was served, and answered each caller by what others sent at that moment."""
    for example, golden in ((ROWS[:1], 8), (ROWS, 1), (np.repeat(ROWS[:1], 8, axis=0), 8)):
        with pytest.raises(PackageError, match="depends on the other rows of its batch"):
            package(Call(function), example=scale * example, golden=golden, to=tmp_path / "m")


def test_a_module_that_answers_no_row_but_those_of_its_kind_is_packaged(tmp_path: Path) -> None:
    class Ruled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            """[rows, 4] to [rows, 4]."""
            if not torch.compiler.is_exporting() and (x == 0).any():
                raise ValueError("no row of ours")
            return 2 * x

    assert package(Ruled(), example=ROWS[:1], to=tmp_path / "m").manifest.golden.rows == 1


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (torch.jit.script(nn.Linear(4, 3)), ROWS, "it is in TorchScript, which can't be exported: give the module"),
        (
            torch.export.export(nn.Linear(4, 3), (torch.ones(3, 4),)).module(),
            ROWS,
            "Guard failed.*; it was exported for one shape: export it with a dynamic batch",
        ),
        (nn.Linear(4, 3), np.ones((8, 4), np.int64), r"same dtype.*; give each input in the type that it takes"),
        (nn.Flatten(), np.ones((2, 2049, 2048), np.float32), "a row of the inputs has 16,785,408 bytes, and a call"),
        (Call(lambda x: x[:, :1].expand(-1, 5_000_000)), ROWS[:2], "a row of the output 'output' has 20,000,000 bytes"),
    ],
)
def test_what_nobody_could_call_is_refused(module: nn.Module, example: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(module, example=example, to=tmp_path / "m")


def test_more_classes_than_a_prediction_id_tells_apart_are_refused(tmp_path: Path) -> None:
    """Requests that were answered with one beyond failed."""
    assert MAX_CLASSES == NO_CLASS
    classes = [str(number) for number in range(MAX_CLASSES + 1)]
    module = Call(lambda x: x[:, :1].expand(-1, MAX_CLASSES + 1))
    with pytest.raises(PackageError, match='there are 65,536, and at most 65,535 are told apart: use task="other"'):
        package(module, example=ROWS, classes=classes, to=tmp_path / "m")


def test_a_link_is_replaced_and_what_it_led_to_is_left(tmp_path: Path) -> None:
    """The folder was there, and an error said that it could not be written."""
    first = package(classifier(), example=ROWS, to=tmp_path / "first")
    (tmp_path / "latest").symlink_to(first.path)
    second = package(nn.Linear(4, 3), example=ROWS, to=tmp_path / "latest", overwrite=True)
    assert verify(tmp_path / "latest").digest == second.digest
    assert verify(tmp_path / "first").digest == first.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest"]


def test_a_nested_tensor_is_refused(tmp_path: Path) -> None:
    rows = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)])
    with pytest.raises(PackageError, match="input 'input' is a nested tensor: pad its rows"):
        package(classifier(), example=rows, to=tmp_path / "m")


def test_masked_rows_are_refused(tmp_path: Path) -> None:
    """What lies under the mask was taken for values: golden rows and profiles were made of it."""
    rows = np.ma.masked_array(np.ones((2, 4)), [[False, True, False, False]] * 2)
    with pytest.raises(PackageError, match=r"input 'input' has masked values, .* give array.filled\(...\) of it"):
        package(classifier(), example=rows, to=tmp_path / "m")


def test_weights_that_need_a_pickle_are_refused(tmp_path: Path) -> None:
    module = nn.Linear(4, 3)
    module.weight = nn.Parameter(_subclass(torch.ones(3, 4)), requires_grad=False)

    with pytest.raises(PackageError, match="weight can only be stored as a pickle"):
        package(module, example=ROWS, to=tmp_path / "m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example": ROWS[:0]}, "example: each input needs the same number of rows, at least one"),
        ({"example": np.array([["a"] * 4] * 3)}, "has the type <U1, which no tensor has"),
        ({"example": np.float32(1)}, "is a single number"),
        ({"example": ROWS, "golden": 0}, "at least one is needed"),
        ({"example": ROWS, "golden": 8, "max_batch": 4}, "max_batch: 4 is too small"),
        ({"example": ROWS, "golden": ROWS[:, :3]}, r"golden: input 'input' has torch.float32 \[rows, 3\] where"),
        ({"example": ROWS, "reference": ROWS[:, :3]}, "reference: input 'input' has torch.float32"),
        ({"example": ROWS, "reference": ROWS[:5]}, "give at least 10"),
        ({"example": ROWS, "reference": (ROWS, ROWS)}, "reference: 2 inputs instead of 1"),
        ({"example": ROWS, "reference": ROWS, "feature_names": ["a"]}, "1 names for the 4 columns"),
        ({"example": ROWS, "reference": ROWS, "profile_input": "x"}, "'x' is not one of the inputs input"),
        ({"example": ROWS, "input_names": ["a", "b"]}, "input_names: 2 names for 1 inputs"),
        ({"example": {"input": ROWS}, "input_names": ["a"]}, "leave input_names out"),
        ({"example": {"x": ROWS}}, "unexpected keyword argument 'x'"),
        ({"example": ROWS, "input_names": ["a/b"]}, "'a/b' is no tensor name"),
        ({"example": ROWS, "output_names": ["a", "b"]}, "output_names: 2 names for 1 outputs"),
        ({"example": ROWS, "classes": ["a", "b"]}, "with 2 columns, one per class"),
        ({"example": ROWS, "classes": ["a", "b", "a"]}, "classes: a occurs more than once"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(classifier(), to=tmp_path / "m", **arguments)  # type: ignore[arg-type]  # wrong on purpose

    assert list(tmp_path.iterdir()) == []


def test_inputs_of_different_lengths_and_missing_inputs_are_refused(tmp_path: Path) -> None:
    example = {"amounts": np.ones((20, 4)), "code": np.arange(20) % 5}
    with pytest.raises(PackageError, match=r"the same number of rows, at least one, not \[19, 20\]"):
        package(Casting(), example={**example, "code": np.arange(19) % 5}, to=tmp_path / "m")
    with pytest.raises(PackageError, match="reference: the input 'code' is missing"):
        package(Casting(), example=example, reference={"amounts": np.ones((20, 4))}, to=tmp_path / "m")


def test_a_module_that_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    module = nn.Linear(4, 3)
    module.register_buffer("derived", module.weight * 2)

    with pytest.raises(PackageError, match="the module can't be copied"):
        package(module, example=ROWS, to=tmp_path / "m")


def test_an_existing_folder_is_kept_unless_told(tmp_path: Path) -> None:
    first = package(classifier(), example=ROWS, to=tmp_path / "m")

    with pytest.raises(PackageError, match="exists: choose another folder, or pass overwrite=True"):
        package(nn.Linear(4, 2), example=ROWS, to=tmp_path / "m")
    assert verify(tmp_path / "m") == first
    with pytest.raises(PackageError, match="NaN"):
        package(Call(lambda x: x / 0), example=ROWS, to=tmp_path / "m", overwrite=True)
    assert verify(tmp_path / "m") == first

    with pytest.raises(PackageError, match="precision: 'half' is not known: auto, fp32, bf16, fp16 are"):
        package(nn.Linear(4, 2), example=ROWS, to=tmp_path / "m", overwrite=True, precision="half")
    second = package(nn.Linear(4, 2), example=ROWS, to=tmp_path / "m", overwrite=True)
    assert verify(tmp_path / "m") == second != first
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_is_no_artifact_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(PackageError, match="is no artifact and is not overwritten"):
        package(classifier(), example=ROWS, to=tmp_path, overwrite=True)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_is_said_of_a_profile_needs_one(tmp_path: Path) -> None:
    for said in ({"feature_names": ["a"]}, {"features": [0]}, {"categorical": [0]}, {"profile_input": "input"}):
        with pytest.raises(PackageError, match=f"^{next(iter(said))}: .* neither a reference nor a profile"):
            package(classifier(), example=ROWS, to=tmp_path / "m", **said)
    assert not (tmp_path / "m").exists()


def test_what_a_profile_takes_the_place_of_is_refused_before_the_model_is_asked(tmp_path: Path) -> None:
    asked: list[object] = []
    module = Call(asked.append)
    for said in ({"reference": ROWS}, {"features": [0]}, {"categorical": [0]}):
        with pytest.raises(PackageError, match=r"^profile: it takes the place of reference"):
            package(module, example=ROWS, to=tmp_path / "m", profile=tmp_path / "profile.json", **said)
    assert not asked
