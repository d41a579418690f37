"""Versions on a CUDA device: the same answers as on the CPU, however they get there. Skipped where there is none.

`CROSSFADE_DEVICE=cuda` has the other tests of this folder run there too.
"""

import asyncio
import contextlib
import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grpc import aio
from torch import nn

from crossfade.artifact import package
from crossfade.manifest import MANIFEST_FILE, Manifest, Precision, loads
from services.common.clock import SystemClock
from services.worker.domain import LoadError
from services.worker.engine.cuda import limit_memory
from services.worker.engine.engine import Begun, Engine
from services.worker.engine.loader import load_program
from services.worker.engine.verify import prepare
from services.worker.settings import WorkerSettings
from services.worker.shared_memory.tensors import to_numbers
from tests.fakes.models import RAISES, Noting, expected_scores, reference_rows, scores_of
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.gpu_modules import Attention, Images, Mixing, Recurrent, Sparse, Wide, drawn
from tests.support.wait import until_async

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
    """No memory is kept from one test to another: what is at hand already no bound on memory keeps from being used."""
    gc.collect()
    torch.cuda.empty_cache()
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


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


def noted(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal((count, 4096), dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "module"), [("attention", Attention()), ("recurrent", Recurrent()), ("images", Images())]
)
@pytest.mark.parametrize(("precision", "near"), [(Precision.FP32, 2e-3), (Precision.BF16, 5e-2)])
def test_models_of_many_kinds_answer_as_on_the_cpu(
    tmp_path: Path, name: str, module: nn.Module, precision: Precision, near: float
) -> None:
    package(module, example=drawn(name, 8), task="other", to=tmp_path / name)
    manifest = loads((tmp_path / name / MANIFEST_FILE).read_bytes())
    _, cpu = engines(tmp_path / name, manifest)
    settings = WorkerSettings(device="cuda", precision=precision, batch_seconds=1.0)
    prepared = prepare(tmp_path / name, manifest, settings, SystemClock(), 0.0)
    assert "with CUDA graphs of up to 64 rows" in prepared.report.precision_reason

    def agrees(begun: Begun, given: tuple[Any, ...]) -> None:
        found, wanted = begun.wait().arrays, cpu.run(given).arrays
        for one, other, spec in zip(found, wanted, manifest.signature.outputs, strict=True):
            here, there = (to_numbers(spec.dtype, array) for array in (one, other))
            np.testing.assert_allclose(here, there, rtol=near * 10, atol=near)

    before: tuple[Begun, tuple[Any, ...]] | None = None
    for seed in range(40):
        given = drawn(name, 1 + 7 * seed % 64, seed)
        begun = prepared.engine.begin(given)
        assert isinstance(begun, Begun)
        if before is not None:
            agrees(*before)
        before = begun, given


@pytest.mark.skipif(shutil.which("g++") is None, reason="this machine has no C++ compiler (g++)")
@pytest.mark.parametrize(("name", "module"), [("mixing", Mixing()), ("images", Images())])
def test_what_is_compiled_is_recorded_and_answers_as_on_the_cpu(tmp_path: Path, name: str, module: nn.Module) -> None:
    package(module, example=drawn(name, 8), task="other", to=tmp_path / name)
    manifest = loads((tmp_path / name / MANIFEST_FILE).read_bytes())
    _, cpu = engines(tmp_path / name, manifest)
    settings = WorkerSettings(device="cuda", compile_programs=True, batch_seconds=1.0, artifact_cache=tmp_path)
    prepared = prepare(tmp_path / name, manifest, settings, SystemClock(), 0.0)
    # Whether it was faster is the device's to say.
    assert "times as fast in batches of 64; with CUDA graphs of up to 64 rows" in prepared.report.precision_reason
    for seed in range(20):
        given = drawn(name, 1 + 7 * seed % 64, seed)
        found, wanted = prepared.engine.run(given).arrays, cpu.run(given).arrays
        for one, other, spec in zip(found, wanted, manifest.signature.outputs, strict=True):
            here, there = (to_numbers(spec.dtype, array) for array in (one, other))
            np.testing.assert_allclose(here, there, rtol=0.5, atol=5e-2)


def test_mixed_precision_is_taken_where_the_largest_batch_takes_less_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    large = nn.Sequential(nn.Linear(WIDTH, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 4096))
    package(large, example=rows(8), task="other", to=tmp_path / "large")
    manifest = loads((tmp_path / "large" / MANIFEST_FILE).read_bytes())
    prepared = prepare(tmp_path / "large", manifest, WorkerSettings(device="cuda"), SystemClock(), 0.0)
    report = prepared.report
    assert report.precision is Precision.BF16, report.precision_reason
    assert report.timed_rows == prepared.max_rows == 64
    assert 0 < report.mixed_seconds < report.full_seconds


def test_a_program_that_cannot_be_recorded_runs_without_graphs_and_says_why(tmp_path: Path) -> None:
    package(Sparse(), example=rows(8), task="other", to=tmp_path / "sparse")
    manifest = loads((tmp_path / "sparse" / MANIFEST_FILE).read_bytes())
    prepared = prepare(tmp_path / "sparse", manifest, WorkerSettings(device="cuda"), SystemClock(), 0.0)
    assert "without CUDA graphs, since" in prepared.report.precision_reason
    given = rows(5)
    np.testing.assert_allclose(prepared.engine.run([given]).arrays[0], given + (given > 0), atol=1e-2)


def test_a_version_that_the_memory_is_small_for_gets_smaller_batches(tmp_path: Path) -> None:
    package(Wide(), example=rows(4), golden=4, task="other", to=tmp_path / "wide")
    manifest = loads((tmp_path / "wide" / MANIFEST_FILE).read_bytes())
    settings = WorkerSettings(
        device="cuda", precision=Precision.FP32, version_device_memory_bytes=8 << 30, batch_seconds=5.0
    )
    prepared = prepare(tmp_path / "wide", manifest, settings, SystemClock(), 0.0)
    assert 2 <= prepared.max_rows < 64
    given = rows(prepared.max_rows)
    wanted = given[:, 0] + given.sum(axis=1)
    np.testing.assert_allclose(prepared.engine.run([given]).arrays[0], wanted, rtol=1e-3, atol=1e-3)


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


def test_a_program_that_writes_to_its_own_buffer_keeps_batches_apart(tmp_path: Path) -> None:
    package(Noting(4096), example=noted(8), task="other", to=tmp_path / "noting")
    manifest = loads((tmp_path / "noting" / MANIFEST_FILE).read_bytes())
    settings = WorkerSettings(device="cuda", precision=Precision.FP32)
    engine = prepare(tmp_path / "noting", manifest, settings, SystemClock(), 0.0).engine
    before: tuple[Begun, Any] | None = None
    for seed in range(500):
        given = noted(64, seed)
        begun = engine.begin([given])
        assert isinstance(begun, Begun)
        if before is not None:
            np.testing.assert_array_equal(before[0].wait().arrays[0], before[1] * 2)
        before = begun, given


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
    alone = prepare(folder, manifest, WorkerSettings(device="cuda", max_batch=1), SystemClock(), 0.0)
    assert alone.report.precision_reason.endswith("with CUDA graphs of up to 1 rows")
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


async def test_a_worker_serves_by_a_gpu(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(device="cuda", precision="auto")
    caller = await caller_of("v1")
    given = [reference_rows(1 + seed % 64, seed) for seed in range(200)]
    responses = await asyncio.gather(*(caller.predict(one) for one in given))
    for one, response in zip(given, responses, strict=True):
        np.testing.assert_allclose(scores_of(response), expected_scores(one), rtol=0.05, atol=0.1)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.load_report.device == "cuda:0"
    assert serving.load_report.timed_rows == 64


async def test_a_row_that_breaks_the_device_ends_the_versions_process_which_comes_back(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(device="cuda")
    caller = await caller_of("v1")
    bad = reference_rows(1)
    # An index out of range: on a GPU an assertion of a kernel, after which the process has no device any more.
    bad[0, 0] = RAISES
    failure = await caller.failure(bad, timeout_seconds=30.0)
    assert failure.code == "UNAVAILABLE"

    async def answers() -> bool:
        with contextlib.suppress(aio.AioRpcError):
            return bool(await caller.predict(reference_rows(1)))
        return False

    await until_async(answers, 60)
