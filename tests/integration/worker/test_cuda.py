"""Versions on a CUDA device: the same answers as on the CPU, however they get there. Skipped where there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package
from crossfade.manifest import MANIFEST_FILE, Manifest, Precision, loads
from services.common.clock import SystemClock
from services.worker.cuda import limit_memory
from services.worker.domain import LoadError
from services.worker.engine import Begun, Engine
from services.worker.loader import load_program
from services.worker.settings import WorkerSettings
from services.worker.verify import prepare

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
WIDTH = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perceptron of 32 inputs and 10 classes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 10)).eval()
    to = tmp_path_factory.mktemp("cuda") / "perceptron"
    package(model, example=rows(8), task="classification", classes=[str(i) for i in range(10)], to=to)
    return to


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    """The artifact's."""
    return loads((folder / MANIFEST_FILE).read_bytes())


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    """No memory is kept from one test to another."""
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def rows(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)


def engines(folder: Path, manifest: Manifest) -> tuple[Engine, Engine]:
    """On the device, and on the CPU."""
    devices = (torch.device("cuda:0"), torch.device("cpu"))
    here, there = (Engine(load_program(folder, manifest), manifest, device) for device in devices)
    return here, there


def test_it_answers_as_the_cpu_does_with_graphs_and_without(folder: Path, manifest: Manifest) -> None:
    cuda, cpu = engines(folder, manifest)
    cuda.settle(Precision.FP32)
    for recorded in (False, True):
        if recorded:
            cuda.record([1, 2, 4, 8, 16])
        for count in (1, 3, 8, 11, 16, 40):
            found, wanted = cuda.run([rows(count)]), cpu.run([rows(count)])
            np.testing.assert_allclose(found.arrays[0], wanted.arrays[0], rtol=1e-3, atol=1e-4)
            assert found.classes is not None
            assert wanted.classes is not None
            assert found.classes.tolist() == wanted.classes.tolist()


def test_two_batches_under_way_keep_their_rows(folder: Path, manifest: Manifest) -> None:
    cuda, cpu = engines(folder, manifest)
    cuda.settle(Precision.FP32)
    cuda.record([8, 64])
    before: tuple[Begun, int] | None = None
    for seed in range(200):
        begun = cuda.begin([rows(1 + seed % 64, seed)])
        assert isinstance(begun, Begun)
        if before is not None:
            wanted = cpu.run([rows(1 + before[1] % 64, before[1])]).arrays[0]
            np.testing.assert_allclose(before[0].wait().arrays[0], wanted, rtol=1e-3, atol=1e-4)
        before = begun, seed


def test_rows_that_only_fill_a_graph_up_are_nobodys(folder: Path, manifest: Manifest) -> None:
    cuda, _ = engines(folder, manifest)
    cuda.settle(Precision.FP32)
    cuda.record([8])
    bad = rows(8)
    bad[5] = np.nan
    assert cuda.run([bad]).finite is not None
    assert cuda.run([rows(3)]).finite is None


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16])
def test_mixed_precision_with_graphs_is_what_it_is_without(
    folder: Path, manifest: Manifest, precision: Precision
) -> None:
    cuda, _ = engines(folder, manifest)
    cuda.settle(precision)
    plain = cuda.run([rows(8)]).arrays[0]
    cuda.record([8])
    np.testing.assert_allclose(cuda.run([rows(8)]).arrays[0], plain, rtol=1e-2, atol=1e-2)


def test_a_version_is_prepared_with_graphs_in_the_precision_that_helps(folder: Path, manifest: Manifest) -> None:
    prepared = prepare(folder, manifest, WorkerSettings(device="cuda"), SystemClock(), 0.0)
    assert prepared.report.device == "cuda:0"
    assert "with CUDA graphs of up to" in prepared.report.precision_reason
    plain = prepare(folder, manifest, WorkerSettings(device="cuda", cuda_graphs=False), SystemClock(), 0.0)
    assert "CUDA graphs" not in plain.report.precision_reason


def test_too_little_of_the_devices_memory_is_a_failed_load(folder: Path, manifest: Manifest) -> None:
    with pytest.raises(LoadError, match="memory is too small"):
        prepare(folder, manifest, WorkerSettings(device="cuda", version_device_memory_bytes=1), SystemClock(), 0.0)


def test_a_bound_on_memory_shows_as_out_of_memory() -> None:
    device = torch.device("cuda:0")
    limit_memory(device, 64 << 20)
    with pytest.raises(torch.OutOfMemoryError):
        torch.zeros(1 << 30, device=device)
