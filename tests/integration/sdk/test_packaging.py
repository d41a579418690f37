"""What `package` makes of a module: its program, its manifest, its golden rows."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossfade.artifact import Tolerance, package, read_golden, verify
from crossfade.manifest import Task
from crossfade.tensor_spec import DType, TensorSpec
from tests.integration.sdk.modules import ROWS, Casting, classifier


def _load(folder: Path) -> Callable[..., tuple[Tensor, ...]]:
    program = torch.export.load(folder / "program.pt2")  # noqa: TID251 - the test reads what it wrote itself
    return program.module()


def test_the_packaged_program_answers_like_the_module_in_any_batch(tmp_path: Path) -> None:
    module = classifier()
    artifact = package(module, example=ROWS, to=tmp_path / "m")
    run = _load(artifact.path)

    module.eval()
    for count in (1, 2, 3, 8, 50):
        rows = torch.from_numpy(ROWS[:count])
        torch.testing.assert_close(run(rows)[0], module(rows), rtol=1e-4, atol=1e-5)


def test_the_manifest_describes_the_model(tmp_path: Path) -> None:
    artifact = package(
        classifier(), example=ROWS[:10], reference=ROWS, labels=np.arange(50) % 3, to=tmp_path / "m", max_batch=64
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
    artifact = package(classifier(), example=ROWS, to=tmp_path / "m")
    written = {path.name: path.read_bytes() for path in artifact.path.iterdir()}

    assert set(written) == {"model.json", "golden.npz", "program.pt2"}
    assert artifact.digest == "sha256:" + hashlib.sha256(written["model.json"]).hexdigest()
    assert artifact.size == sum(map(len, written.values()))
    for entry in artifact.manifest.files:
        assert entry.sha256 == hashlib.sha256(written[entry.path]).hexdigest()
    assert verify(artifact.path) == artifact


def test_golden_rows_are_the_modules_own_answers(tmp_path: Path) -> None:
    module = classifier()
    artifact = package(module, example=ROWS, to=tmp_path / "m", golden=ROWS[20:25])
    golden = read_golden(artifact.path, artifact.manifest)

    np.testing.assert_array_equal(golden.inputs["input"], ROWS[20:25])
    expected = module.eval()(torch.from_numpy(ROWS[20:25])).detach().numpy()
    np.testing.assert_array_equal(golden.outputs["output"], expected)
    assert artifact.manifest.tolerance.atol == pytest.approx(0.01 * np.abs(expected).max(), rel=0.05)


def test_the_tolerance_can_be_chosen(tmp_path: Path) -> None:
    artifact = package(classifier(), example=ROWS, to=tmp_path / "m", tolerance=Tolerance(rtol=0.1, atol=0.2))

    assert artifact.manifest.tolerance == Tolerance(rtol=0.1, atol=0.2)


class Sized(nn.Module):
    """Outputs of several sizes, one of which is nothing."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """[rows, 4] to four of [rows, 4]."""
        kept = x.clamp(-1, 1)
        return {"unit": kept, "large": 1000 * kept, "same": 1000 * kept, "none": 0 * kept}


def test_each_output_has_a_tolerance_of_its_own_size(tmp_path: Path) -> None:
    rows = np.tile(np.array([[1, -1, 0.5, 0]], np.float32), (8, 1))
    artifact = package(Sized(), example=rows, to=tmp_path / "m")
    # It reads what it wrote; how large an output gets that was nothing is not known.
    assert artifact.manifest.tolerance == Tolerance(rtol=0.01, atol=10.0, atol_of={"unit": 0.01})
    # As releases before read it.
    package(nn.Identity(), example=rows, to=tmp_path / "one")
    assert b"atol_of" not in (tmp_path / "one" / "model.json").read_bytes()


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
    artifact = package(classifier(), example=ROWS[:1], to=tmp_path / "m")

    assert artifact.manifest.golden.rows == 1
    assert _load(artifact.path)(torch.from_numpy(ROWS))[0].shape == (50, 3)


def test_half_precision_is_kept_and_its_golden_rows_are_readable(tmp_path: Path) -> None:
    module = nn.Linear(4, 1).to(torch.bfloat16)
    artifact = package(module, example=ROWS.astype(np.float64), reference=ROWS.astype(np.float64), to=tmp_path / "m")

    assert artifact.manifest.signature.outputs == (TensorSpec("output", DType.BF16, (-1, 1)),)
    assert artifact.manifest.task is Task.REGRESSION
    assert artifact.manifest.profile is not None
    assert artifact.manifest.profile.prediction is not None
    assert read_golden(artifact.path, artifact.manifest).outputs["output"].dtype == np.float32


class Table:
    """What a data frame looks like to numpy."""

    columns = ("age", "income", "visits", "spent")

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.float64]:
        return ROWS.astype(np.float64)


def test_a_tables_column_names_become_feature_names(tmp_path: Path) -> None:
    artifact = package(classifier(), example=Table(), reference=Table(), to=tmp_path / "m", features=["spent", "age"])

    assert artifact.manifest.profile is not None
    assert [feature.name for feature in artifact.manifest.profile.features] == ["spent", "age"]


def test_a_long_reference_is_sampled(tmp_path: Path) -> None:
    reference = np.random.default_rng(1).normal(size=(20_050, 4)).astype(np.float32)
    artifact = package(classifier(), example=ROWS, reference=reference, to=tmp_path / "m")

    assert artifact.manifest.profile is not None
    assert artifact.manifest.profile.rows == 20_000


def test_the_module_is_left_as_it_is(tmp_path: Path) -> None:
    module = classifier()
    module[1].eval()  # type: ignore[index]  # a Sequential

    package(module, example=ROWS, to=tmp_path / "m")

    assert module.training
    assert not module[1].training  # type: ignore[index]  # a Sequential
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_program_holds_no_pickle_and_no_row_of_the_example(tmp_path: Path) -> None:
    marked = np.full((10, 4), 1234.5, dtype=np.float32)
    artifact = package(classifier(), example=marked, golden=ROWS[:8], to=tmp_path / "m")

    with ZipFile(artifact.path / "program.pt2") as archive:
        parts = [archive.read(name) for name in archive.namelist()]
    # A pickle, or a zip of torch.save, begins with one of these.
    assert not [part for part in parts if part.startswith((b"\x80", b"PK"))]
    assert not [part for part in parts if marked[:1].tobytes() in part]


def test_packaging_twice_gives_the_same_digest(tmp_path: Path) -> None:
    first, second = (package(classifier(), example=ROWS, to=tmp_path / name) for name in "ab")

    assert first.digest == second.digest


def test_how_an_array_lies_in_memory_changes_nothing(tmp_path: Path) -> None:
    backwards = np.ascontiguousarray(ROWS[::-1])[::-1]
    others = (backwards, ROWS.astype(">f4"), np.asfortranarray(ROWS))
    plain = package(classifier(), example=ROWS, reference=ROWS, to=tmp_path / "plain").digest
    for number, rows in enumerate(others):
        assert package(classifier(), example=rows, reference=rows, to=tmp_path / str(number)).digest == plain
