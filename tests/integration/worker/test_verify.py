"""What a version must show before it is ready; programs that write in place, to their inputs or to what they hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import Tolerance, package, read_golden
from crossfade.artifact.archive import save_program
from crossfade.manifest import MANIFEST_FILE, Precision, loads
from services.common.clock import SystemClock
from services.worker.domain import FailureCode, LoadError
from services.worker.engine.engine import Engine
from services.worker.engine.golden import GoldenCheck
from services.worker.engine.loader import load_program
from services.worker.engine.verify import prepare
from services.worker.settings import WorkerSettings
from tests.fakes.models import Noting


class Shifted(nn.Module):
    """Counts on its input, which is another one after each call."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[rows, 2] of at most 6 to [rows, 2, 3]."""
        ids.add_(1)
        found: torch.Tensor = self.words(ids)
        return found


def packaged(module: nn.Module, example: Any, to: Path) -> Any:
    package(module, example=example, task="other", to=to)
    return loads((to / MANIFEST_FILE).read_bytes())


def ids(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 7, (count, 2))


def test_a_program_that_writes_to_its_inputs_is_timed_as_it_is_called(tmp_path: Path) -> None:
    manifest = packaged(Shifted(), ids(8), tmp_path / "shifted")
    settings = WorkerSettings(device="cpu", precision=Precision.BF16, batch_seconds=60.0)
    prepared = prepare(tmp_path / "shifted", manifest, settings, SystemClock(), 0.0)
    assert prepared.max_rows == 64


@pytest.mark.parametrize(("module", "writes"), [(Noting(2), True), (nn.Linear(2, 2), False)])
def test_a_program_is_known_that_writes_to_what_it_holds(tmp_path: Path, module: nn.Module, writes: bool) -> None:
    rows = np.random.default_rng(0).random((8, 2), dtype=np.float32)
    manifest = packaged(module, rows, tmp_path / "model")
    engine = Engine(load_program(tmp_path / "model", manifest), manifest, torch.device("cpu"))
    assert not engine.writes_to_itself
    engine.run([rows])
    assert engine.writes_to_itself is writes


class Wrapped(nn.Module):
    """Writes to large values of its input alone, which no golden row has."""

    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor
        self.register_buffer("table", torch.arange(20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 2] to [rows, 2]."""
        x[x > 10] -= 10
        return x + self.table[x[:, 1].long()].unsqueeze(1)


def test_what_a_program_writes_to_is_found_again(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((8, 2), dtype=np.float32)
    manifest = packaged(Wrapped(), rows, tmp_path / "model")
    engine = Engine(load_program(tmp_path / "model", manifest), manifest, torch.device("cpu"))
    given = np.full((4, 2), 15.0, np.float32)
    for _ in range(2):
        assert engine.run([given]).arrays[0].tolist() == [[10.0, 10.0]] * 4
    given[2, 1] = 99.0
    with pytest.raises(IndexError):
        engine.run([given])
    assert given[0].tolist() == [15.0, 15.0]


def test_numbers_that_golden_rows_have_are_never_beyond(tmp_path: Path) -> None:
    manifest = packaged(nn.Embedding(8, 3), ids(8), tmp_path / "words")
    settings = WorkerSettings(device="cpu", precision=Precision.FP32)
    prepared = prepare(tmp_path / "words", manifest, settings, SystemClock(), 0.0)
    assert prepared.bounds == (8,)
    check = GoldenCheck(prepared.engine, read_golden(tmp_path / "words", manifest), manifest)
    assert check.within((7,)) == (7,)
    assert check.within((6,)) == (0,)


class Priced(nn.Module):
    """A large number, and a small one."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """[rows, 2] to [rows] and [rows, 1]."""
        return {"price": 1e6 * (1 + x.sum(dim=1)), "chance": self.chance(x).sigmoid()}


def test_an_output_is_held_to_its_own_size_whatever_stands_beside_it(tmp_path: Path) -> None:
    """By 1 % of a price each probability agreed with each other one."""
    rows = np.random.default_rng(0).random((8, 2), dtype=np.float32)
    manifest = packaged(Priced(), rows, tmp_path / "priced")
    engine = Engine(load_program(tmp_path / "priced", manifest), manifest, torch.device("cpu"))
    golden = read_golden(tmp_path / "priced", manifest)
    check = GoldenCheck(engine, golden, manifest)
    assert check.error(Precision.FP32, 8) < 0.01
    outputs = {**golden.outputs, "chance": golden.outputs["chance"] + np.float32(0.1)}
    other = GoldenCheck(engine, replace(golden, outputs=outputs), manifest)
    error = other.error(Precision.FP32, 8)
    assert error > 5
    assert "; chance's 0.00" in other.complaint(Precision.FP32, error)
    # What somebody has chosen is for all outputs.
    chosen = replace(manifest, tolerance=Tolerance(rtol=0.0, atol=1.0))
    assert GoldenCheck(engine, replace(golden, outputs=outputs), chosen).error(Precision.FP32, 8) < 1


class SmallOnly(nn.Module):
    """A map whose answers beyond the twentieth row of a batch are none, or far less exact in half precision.

    Args:
        none: they are NaN.
    """

    def __init__(self, *, none: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.none = none

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 1]."""
        beyond = (torch.arange(x.shape[0]) >= 20).unsqueeze(1)
        exact = (x * self.linear.weight).sum(dim=1, keepdim=True) + self.linear.bias
        rough = self.linear(x)
        return torch.where(beyond, torch.nan if self.none else exact + 1e3 * (rough - exact), exact)


def small_only(tmp_path: Path, *, none: bool) -> Any:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    return packaged(SmallOnly(none=none), rows, tmp_path / "small")


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_a_batch_larger_than_the_golden_rows_must_agree_too(tmp_path: Path, precision: Precision) -> None:
    manifest = small_only(tmp_path, none=True)
    settings = WorkerSettings(device="cpu", precision=precision, batch_seconds=60.0)
    with pytest.raises(LoadError, match=r"hold NaN or infinities in fp32, in a batch of 32") as failed:
        prepare(tmp_path / "small", manifest, settings, SystemClock(), 0.0)
    assert failed.value.code is FailureCode.VERIFY_FAILED
    below = prepare(tmp_path / "small", manifest, settings.model_copy(update={"max_batch": 16}), SystemClock(), 0.0)
    assert below.max_rows == below.report.max_rows == 16


class Late(nn.Module):
    """Doubles its input, and the rows beyond the twentieth twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 4]."""
        return x * (2 + 2 * (torch.arange(x.shape[0]) >= 20)).unsqueeze(1)


def test_where_larger_batches_answer_otherwise_the_rows_are_said_to_be_the_reason(tmp_path: Path) -> None:
    manifest = packaged(Late(), np.ones((8, 4), np.float32), tmp_path / "late")
    settings = WorkerSettings(device="cpu", precision=Precision.FP32, batch_seconds=60.0)
    with pytest.raises(LoadError, match=r"in a batch of 32, by .*; compute each row by itself"):
        prepare(tmp_path / "late", manifest, settings, SystemClock(), 0.0)


def test_mixed_precision_must_agree_in_large_batches(tmp_path: Path) -> None:
    manifest = small_only(tmp_path, none=False)
    settings = WorkerSettings(device="cpu", precision=Precision.BF16, batch_seconds=60.0)
    report = prepare(tmp_path / "small", manifest, settings, SystemClock(), 0.0).report
    assert report.precision == "fp32"
    assert report.mixed_error > 1 > report.golden_error
    assert report.precision_reason.startswith(
        "full precision, since its answers to the golden inputs differ in bf16, in"
    )
    settings = settings.model_copy(update={"max_batch": 16})
    assert prepare(tmp_path / "small", manifest, settings, SystemClock(), 0.0).report.precision == "bf16"


class AloneOnly(nn.Module):
    """A map whose answer to a row alone is none, or far less exact in half precision.

    Args:
        none: it is NaN.
        later: only once there was a batch of more than twenty rows; otherwise at once, but not where a row begins
            with 0.
    """

    def __init__(self, *, none: bool, later: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.most: torch.Tensor
        self.register_buffer("most", torch.zeros(()))
        self.none, self.later = none, later

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 1]."""
        rows = torch.ones_like(x[:, 0]).sum()
        self.most.copy_(torch.maximum(self.most, rows))
        alone = (rows == 1) & ((self.most > 20) if self.later else (x[:, :1] > 0))
        exact = (x * self.linear.weight).sum(dim=1, keepdim=True) + self.linear.bias
        rough = self.linear(x)
        return torch.where(alone, torch.nan if self.none else exact + 1e3 * (rough - exact), exact)


def alone_only(tmp_path: Path, *, none: bool, later: bool) -> Any:
    """The program of `AloneOnly` in an artifact of what is right: `package` refuses one that shows it at once."""
    torch.manual_seed(0)
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    # Batches of other sizes begin with the first golden row: of one, that row is all.
    rows[0, 0] = 0
    module = AloneOnly(none=none, later=later)
    right = nn.Linear(4, 1)
    right.load_state_dict(module.linear.state_dict())
    manifest = packaged(right, rows, tmp_path / "alone")
    batch = torch.export.Dim("batch", min=1, max=manifest.max_batch)
    program = torch.export.export(module, (torch.from_numpy(rows[:3]),), dynamic_shapes=({0: batch},))
    program.example_inputs = None
    save_program(program, tmp_path / "alone" / manifest.program)
    return manifest


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
@pytest.mark.parametrize(("later", "where"), [(False, "in fp32; "), (True, "in fp32, in a batch of 1; ")])
def test_a_row_alone_must_be_answered_as_in_a_batch(
    tmp_path: Path, precision: Precision, later: bool, where: str
) -> None:
    manifest = alone_only(tmp_path, none=True, later=later)
    settings = WorkerSettings(device="cpu", precision=precision, batch_seconds=60.0)
    with pytest.raises(LoadError, match=f"hold NaN or infinities {where}") as failed:
        prepare(tmp_path / "alone", manifest, settings, SystemClock(), 0.0)
    assert failed.value.code is FailureCode.VERIFY_FAILED


@pytest.mark.parametrize(("later", "where"), [(False, "in bf16 by"), (True, "in bf16, in a batch of 1, by")])
def test_mixed_precision_must_agree_for_a_row_alone(tmp_path: Path, later: bool, where: str) -> None:
    manifest = alone_only(tmp_path, none=False, later=later)
    settings = WorkerSettings(device="cpu", precision=Precision.BF16, batch_seconds=60.0)
    report = prepare(tmp_path / "alone", manifest, settings, SystemClock(), 0.0).report
    assert report.precision == "fp32"
    assert report.mixed_error > 1 > report.golden_error
    assert report.precision_reason.startswith(f"full precision, since its answers to the golden inputs differ {where}")


def test_a_version_may_run_row_by_row(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    manifest = packaged(nn.Linear(4, 3), rows, tmp_path / "linear")
    settings = WorkerSettings(device="cpu", precision=Precision.BF16, max_batch=1)
    prepared = prepare(tmp_path / "linear", manifest, settings, SystemClock(), 0.0)
    assert (prepared.max_rows, prepared.report.precision) == (1, "bf16")


def test_each_precision_has_an_error_of_its_own(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    manifest = packaged(nn.Linear(4, 3), rows, tmp_path / "linear")
    settings = WorkerSettings(device="cpu", precision=Precision.BF16)
    report = prepare(tmp_path / "linear", manifest, settings, SystemClock(), 0.0).report
    assert report.precision == "bf16"
    assert report.golden_error < 1e-2 < report.mixed_error <= 1


class Halved(nn.Module):
    """A map that leaves what float16 holds, and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 1]."""
        large: torch.Tensor = self.linear(1e6 * x)
        return large.float() / 1e6


def test_an_error_that_no_number_says_is_below_zero(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    manifest = packaged(Halved(), rows, tmp_path / "halved")
    settings = WorkerSettings(device="cpu", precision=Precision.FP16)
    report = prepare(tmp_path / "halved", manifest, settings, SystemClock(), 0.0).report
    assert (report.precision, report.mixed_error) == ("fp32", -1.0)
    assert "hold NaN or infinities in fp16" in report.precision_reason


class Filtering(nn.Module):
    """Filters in the frequency domain, by numbers that safetensors has no type for."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(3, dtype=torch.complex128))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to the same."""
        filtered: torch.Tensor = torch.fft.irfft(torch.fft.rfft(x) * self.kept).float()
        return filtered


def test_what_cannot_be_handed_to_front_ends_is_served_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = packaged(Filtering(), np.random.default_rng(0).random((8, 4), dtype=np.float32), tmp_path / "filtering")
    settings = WorkerSettings(device="cpu", batch_seconds=60.0)
    assert prepare(tmp_path / "filtering", manifest, settings, SystemClock(), 0.0).light == b""
    assert "run by the engine too" in capsys.readouterr().err
