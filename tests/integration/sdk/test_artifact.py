import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor

from crossfade.artifact import ArtifactError, PackageError, Tolerance, package, read_golden, verify
from crossfade.manifest import DType, Task, TensorSpec

_ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def _classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))


class Call(nn.Module):
    """A module made of a function."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


class Casting(nn.Module):
    """Casts inside, as many models do."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(5, 4)
        self.scores = nn.Linear(8, 2)

    def forward(self, amounts: Tensor, code: Tensor) -> dict[str, Tensor]:
        amounts.mul_(2.0)
        logits = self.scores(torch.cat((amounts.to(torch.float32), self.codes(code)), dim=1))
        return {"logits": logits, "chosen": logits.argmax(dim=1)}


def _subclass(values: Tensor) -> Tensor:
    tensor: Tensor = TwoTensor(values, values)  # type: ignore[no-untyped-call]  # torch's own test helper
    return tensor


def _load(folder: Path) -> Callable[..., tuple[Tensor, ...]]:
    program = torch.export.load(folder / "program.pt2")  # noqa: TID251 - the test reads what it wrote itself
    return program.module()


def test_the_packaged_program_answers_like_the_module_in_any_batch(tmp_path: Path) -> None:
    module = _classifier()
    artifact = package(module, example=_ROWS, to=tmp_path / "m")
    run = _load(artifact.path)

    module.eval()
    for count in (1, 2, 3, 8, 50):
        rows = torch.from_numpy(_ROWS[:count])
        torch.testing.assert_close(run(rows)[0], module(rows), rtol=1e-4, atol=1e-5)


def test_the_manifest_describes_the_model(tmp_path: Path) -> None:
    artifact = package(
        _classifier(), example=_ROWS[:10], reference=_ROWS, labels=np.arange(50) % 3, to=tmp_path / "m", max_batch=64
    )
    manifest = artifact.manifest

    assert manifest.task is Task.CLASSIFICATION
    assert manifest.classes == ("0", "1", "2")
    assert manifest.scores == "output"
    assert manifest.signature.inputs == (TensorSpec("input", DType.FP32, (-1, 4)),)
    assert manifest.signature.outputs == (TensorSpec("output", DType.FP32, (-1, 3)),)
    assert (manifest.max_batch, manifest.golden.rows) == (64, 8)
    assert manifest.torch == torch.__version__
    assert manifest.created_by.startswith("crossfade ")
    assert manifest.profile is not None
    assert manifest.profile.rows == 50
    assert [feature.name for feature in manifest.profile.features] == [f"input[{i}]" for i in range(4)]
    assert set(manifest.profile.classes or ()) == {"0", "1", "2"}


def test_the_digest_fixes_every_file(tmp_path: Path) -> None:
    artifact = package(_classifier(), example=_ROWS, to=tmp_path / "m")
    written = {path.name: path.read_bytes() for path in artifact.path.iterdir()}

    assert set(written) == {"model.json", "golden.npz", "program.pt2"}
    assert artifact.digest == "sha256:" + hashlib.sha256(written["model.json"]).hexdigest()
    assert artifact.size == sum(map(len, written.values()))
    for entry in artifact.manifest.files:
        assert entry.sha256 == hashlib.sha256(written[entry.path]).hexdigest()
    assert verify(artifact.path) == artifact


def test_golden_rows_are_the_modules_own_answers(tmp_path: Path) -> None:
    module = _classifier()
    artifact = package(module, example=_ROWS, to=tmp_path / "m", golden=_ROWS[20:25])
    golden = read_golden(artifact.path, artifact.manifest)

    np.testing.assert_array_equal(golden.inputs["input"], _ROWS[20:25])
    expected = module.eval()(torch.from_numpy(_ROWS[20:25])).detach().numpy()
    np.testing.assert_array_equal(golden.outputs["output"], expected)
    assert artifact.manifest.tolerance.atol == pytest.approx(0.01 * np.abs(expected).max(), rel=0.05)


def test_the_tolerance_can_be_chosen(tmp_path: Path) -> None:
    artifact = package(_classifier(), example=_ROWS, to=tmp_path / "m", tolerance=Tolerance(rtol=0.1, atol=0.2))

    assert artifact.manifest.tolerance == Tolerance(rtol=0.1, atol=0.2)


def test_several_inputs_by_name_become_positions_and_a_dict_becomes_named_outputs(tmp_path: Path) -> None:
    # In another order than forward's parameters, and float64 as numpy makes it.
    example = {"code": np.arange(20) % 5, "amounts": np.ones((20, 4))}
    before = example["amounts"].copy()
    module = Casting()
    artifact = package(module, example=example, reference=example, classes=["a", "b"], to=tmp_path / "m")

    signature = artifact.manifest.signature
    assert [(spec.name, spec.dtype) for spec in signature.inputs] == [("code", DType.INT64), ("amounts", DType.FP32)]
    assert [(spec.name, spec.dtype) for spec in signature.outputs] == [("logits", DType.FP32), ("chosen", DType.INT64)]
    assert artifact.manifest.scores == "logits"
    assert artifact.manifest.profile is not None
    assert artifact.manifest.profile.input == "amounts"
    np.testing.assert_array_equal(example["amounts"], before)
    golden = read_golden(artifact.path, artifact.manifest)
    logits, chosen = _load(artifact.path)(*map(torch.from_numpy, golden.inputs.values()))
    np.testing.assert_allclose(logits.detach().numpy(), golden.outputs["logits"], atol=1e-5)
    np.testing.assert_array_equal(chosen.numpy(), golden.outputs["chosen"])


def test_a_program_that_casts_runs_under_autocast(tmp_path: Path) -> None:
    artifact = package(Casting(), example=(np.ones((20, 4)), np.arange(20) % 5), to=tmp_path / "m")
    golden = read_golden(artifact.path, artifact.manifest)
    run = _load(artifact.path)

    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = run(*map(torch.from_numpy, golden.inputs.values()))

    assert logits.dtype == torch.bfloat16
    tolerance = artifact.manifest.tolerance
    np.testing.assert_allclose(
        logits.detach().float().numpy(), golden.outputs["logits"], rtol=tolerance.rtol, atol=tolerance.atol
    )


def test_positional_inputs_are_named_after_the_parameters_or_as_told(tmp_path: Path) -> None:
    example = [torch.ones(6, 4), torch.arange(6) % 5]
    by_default = package(Casting(), example=example, to=tmp_path / "a")
    told = package(Casting(), example=example, to=tmp_path / "b", input_names=["x", "y"], output_names=["p", "q"])

    assert [spec.name for spec in by_default.manifest.signature.inputs] == ["amounts", "code"]
    assert [spec.name for spec in told.manifest.signature.inputs] == ["x", "y"]
    assert [spec.name for spec in told.manifest.signature.outputs] == ["p", "q"]


def test_an_example_of_one_row_is_enough(tmp_path: Path) -> None:
    artifact = package(_classifier(), example=_ROWS[:1], to=tmp_path / "m")

    assert artifact.manifest.golden.rows == 1
    assert _load(artifact.path)(torch.from_numpy(_ROWS))[0].shape == (50, 3)


def test_half_precision_is_kept_and_its_golden_rows_are_readable(tmp_path: Path) -> None:
    module = nn.Linear(4, 1).to(torch.bfloat16)
    artifact = package(module, example=_ROWS.astype(np.float64), reference=_ROWS.astype(np.float64), to=tmp_path / "m")

    assert artifact.manifest.signature.outputs == (TensorSpec("output", DType.BF16, (-1, 1)),)
    assert artifact.manifest.task is Task.REGRESSION
    assert artifact.manifest.profile is not None
    assert artifact.manifest.profile.prediction is not None
    assert read_golden(artifact.path, artifact.manifest).outputs["output"].dtype == np.float32


class Table:
    """What a data frame looks like to numpy."""

    columns = ("age", "income", "visits", "spent")

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.float64]:
        return _ROWS.astype(np.float64)


def test_a_tables_column_names_become_feature_names(tmp_path: Path) -> None:
    artifact = package(_classifier(), example=Table(), reference=Table(), to=tmp_path / "m", features=["spent", "age"])

    assert artifact.manifest.profile is not None
    assert [feature.name for feature in artifact.manifest.profile.features] == ["spent", "age"]


def test_a_long_reference_is_sampled(tmp_path: Path) -> None:
    reference = np.random.default_rng(1).normal(size=(20_050, 4)).astype(np.float32)
    artifact = package(_classifier(), example=_ROWS, reference=reference, to=tmp_path / "m")

    assert artifact.manifest.profile is not None
    assert artifact.manifest.profile.rows == 20_000


def test_the_module_is_left_as_it_is(tmp_path: Path) -> None:
    module = _classifier()
    module[1].eval()  # type: ignore[index]  # a Sequential

    package(module, example=_ROWS, to=tmp_path / "m")

    assert module.training
    assert not module[1].training  # type: ignore[index]  # a Sequential
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_program_holds_no_pickle_and_no_row_of_the_example(tmp_path: Path) -> None:
    marked = np.full((10, 4), 1234.5, dtype=np.float32)
    artifact = package(_classifier(), example=marked, golden=_ROWS[:8], to=tmp_path / "m")

    with ZipFile(artifact.path / "program.pt2") as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    # A pickle, or a zip of torch.save, begins with one of these.
    assert not [part for part in parts if part.startswith((b"\x80", b"PK"))]
    assert not [part for part in parts if marked[:1].tobytes() in part]


def test_packaging_twice_gives_the_same_digest(tmp_path: Path) -> None:
    first, second = (package(_classifier(), example=_ROWS, to=tmp_path / name) for name in "ab")

    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Call(lambda x: x if x.abs().sum() > 0 else -x), "data-dependent .* use torch.where instead of if"),
        (Call(lambda x: torch.stack([row * 2 for row in x])), "the code fixes the number of rows"),
        (Call(lambda x: torch.from_numpy(x.numpy() * 2)), r"torch.export refused the module: \.numpy\(\)"),
        (Call(lambda x: x.softmax(dim=0)), "depends on the other rows of its batch"),
        (Call(lambda x: x + torch.rand_like(x)), "differently each time"),
        (Call(lambda x: x + int(torch.compiler.is_exporting())), "with a batch of 1, answers differently"),
        (Call(lambda x: x.mean()), "its first dimension must be the batch"),
        (Call(lambda x: x.repeat(2, 1)), r"the shape \[4, 4\] for 2 rows"),
        (Call(lambda x: (x - 1e9).log()), "NaN or infinite for the golden rows 0, 1, 2, 3, 4, 5, 6, 7"),
        (Call(lambda x: x @ torch.ones(5, 5)), "the module fails on its inputs: mat1 and mat2"),
        (Call(lambda x: x.tolist()), "output 'output_0' is a list, not a tensor"),
        (Call(lambda x: "no tensor"), r"forward\(\) returned a str"),
        (Call(lambda x: x.to_sparse()), "is a sparse tensor"),
        (Call(lambda x: x.to(torch.complex64)), "has the type torch.complex64"),
        (Call(lambda x: x * _subclass(torch.ones(4))), "torch.export refused the module: Failed serializing"),
    ],
)
def test_a_module_that_cannot_be_served_is_refused(module: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(module, example=_ROWS, to=tmp_path / "m")

    assert list(tmp_path.iterdir()) == []


def test_weights_that_need_a_pickle_are_refused(tmp_path: Path) -> None:
    module = nn.Linear(4, 3)
    module.weight = nn.Parameter(_subclass(torch.ones(3, 4)), requires_grad=False)

    with pytest.raises(PackageError, match="weight can only be stored as a pickle"):
        package(module, example=_ROWS, to=tmp_path / "m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example": _ROWS[:0]}, "example: each input needs the same number of rows, at least one"),
        ({"example": np.array([["a"] * 4] * 3)}, "has the type <U1, which no tensor has"),
        ({"example": np.float32(1)}, "is a single number"),
        ({"example": _ROWS, "golden": 0}, "at least one is needed"),
        ({"example": _ROWS, "golden": 8, "max_batch": 4}, "max_batch: 4 is too small"),
        ({"example": _ROWS, "golden": _ROWS[:, :3]}, r"golden: input 'input' has torch.float32 \[rows, 3\] where"),
        ({"example": _ROWS, "reference": _ROWS[:, :3]}, "reference: input 'input' has torch.float32"),
        ({"example": _ROWS, "reference": _ROWS[:5]}, "give at least 10"),
        ({"example": _ROWS, "reference": (_ROWS, _ROWS)}, "reference: 2 inputs instead of 1"),
        ({"example": _ROWS, "reference": _ROWS, "feature_names": ["a"]}, "1 names for the 4 columns"),
        ({"example": _ROWS, "reference": _ROWS, "profile_input": "x"}, "'x' is not one of the inputs input"),
        ({"example": _ROWS, "input_names": ["a", "b"]}, "input_names: 2 names for 1 inputs"),
        ({"example": {"input": _ROWS}, "input_names": ["a"]}, "leave input_names out"),
        ({"example": {"x": _ROWS}}, "unexpected keyword argument 'x'"),
        ({"example": _ROWS, "input_names": ["a/b"]}, "'a/b' is no tensor name"),
        ({"example": _ROWS, "output_names": ["a", "b"]}, "output_names: 2 names for 1 outputs"),
        ({"example": _ROWS, "classes": ["a", "b"]}, "with 2 columns, one per class"),
        ({"example": _ROWS, "classes": ["a", "b", "a"]}, "classes: a occurs more than once"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(_classifier(), to=tmp_path / "m", **arguments)  # type: ignore[arg-type]  # wrong on purpose

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
        package(module, example=_ROWS, to=tmp_path / "m")


def test_an_existing_folder_is_kept_unless_told(tmp_path: Path) -> None:
    first = package(_classifier(), example=_ROWS, to=tmp_path / "m")

    with pytest.raises(PackageError, match="exists: choose another folder, or pass overwrite=True"):
        package(nn.Linear(4, 2), example=_ROWS, to=tmp_path / "m")
    assert verify(tmp_path / "m") == first
    with pytest.raises(PackageError, match="NaN"):
        package(Call(lambda x: x / 0), example=_ROWS, to=tmp_path / "m", overwrite=True)
    assert verify(tmp_path / "m") == first

    with pytest.raises(PackageError, match="precision: 'half' is not known: auto, fp32, bf16, fp16 are"):
        package(nn.Linear(4, 2), example=_ROWS, to=tmp_path / "m", overwrite=True, precision="half")
    second = package(nn.Linear(4, 2), example=_ROWS, to=tmp_path / "m", overwrite=True)
    assert verify(tmp_path / "m") == second != first
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_is_no_artifact_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(PackageError, match="is no artifact and is not overwritten"):
        package(_classifier(), example=_ROWS, to=tmp_path, overwrite=True)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return package(nn.Linear(4, 2), example=_ROWS, to=tmp_path / "m").path


@pytest.mark.parametrize("name", ["program.pt2", "golden.npz"])
def test_an_altered_or_truncated_or_missing_file_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    data = path.read_bytes()

    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    with pytest.raises(ArtifactError, match=f"{name} was altered: its SHA-256 is"):
        verify(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match=f"{name} has {len(data) - 1} bytes instead of {len(data)}"):
        verify(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match=rf"{name} can't be read \(No such file"):
        verify(folder)


def test_a_folder_without_a_manifest_or_with_another_format_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is no artifact: model\.json can't be read"):
        verify(folder.parent)
    manifest = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps({**manifest, "format_version": 3}))
    with pytest.raises(ArtifactError, match="upgrade crossfade"):
        verify(folder)


def test_another_file_in_the_folder_is_no_part_of_the_artifact(folder: Path) -> None:
    before = verify(folder)

    (folder / "notes.txt").write_text("hello")

    assert verify(folder) == before


def test_verifying_imports_no_torch(folder: Path) -> None:
    code = "import sys; from crossfade.artifact import verify; verify(sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "False\n"


def test_golden_rows_that_do_not_fit_the_manifest_are_refused(folder: Path) -> None:
    manifest = verify(folder).manifest

    def damage(**arrays: NDArray[np.generic]) -> None:
        named = {name.replace("_", "."): array for name, array in arrays.items()}
        np.savez(folder / "golden.npz", **named)  # type: ignore[arg-type]  # mypy takes them for savez's own flag

    damage(inputs_input=_ROWS[:8], outputs_output=np.zeros((8, 3), np.float32))
    with pytest.raises(ArtifactError, match=r"outputs.output must be float32 \[8, 2\], .* has float32 \[8, 3\]"):
        read_golden(folder, manifest)
    damage(inputs_input=_ROWS[:8])
    with pytest.raises(ArtifactError, match=r"outputs.output must be .* the file has nothing"):
        read_golden(folder, manifest)
    damage(inputs_input=np.array([object()]))
    with pytest.raises(ArtifactError, match=r"golden.npz can't be read: .*allow_pickle"):
        read_golden(folder, manifest)
    (folder / "golden.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(ArtifactError, match=r"golden.npz can't be read"):
        read_golden(folder, manifest)


def test_what_is_said_of_a_profile_needs_one(tmp_path: Path) -> None:
    for said in ({"feature_names": ["a"]}, {"features": [0]}, {"categorical": [0]}, {"profile_input": "input"}):
        with pytest.raises(PackageError, match=f"^{next(iter(said))}: .* neither a reference nor a profile"):
            package(_classifier(), example=_ROWS, to=tmp_path / "m", **said)
    assert not (tmp_path / "m").exists()


def test_what_a_profile_takes_the_place_of_is_refused_before_the_model_is_asked(tmp_path: Path) -> None:
    asked: list[object] = []
    module = Call(asked.append)
    for said in ({"reference": _ROWS}, {"features": [0]}, {"categorical": [0]}):
        with pytest.raises(PackageError, match=r"^profile: it takes the place of reference"):
            package(module, example=_ROWS, to=tmp_path / "m", profile=tmp_path / "profile.json", **said)
    assert not asked
