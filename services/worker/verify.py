"""What a version must show before it is called ready: its golden answers, finite, in every way that it will run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from crossfade.architecture import ArchitectureError, find, package_of
from crossfade.artifact import ArtifactError, read_golden
from crossfade.manifest import Manifest, Precision
from services.common.clock import Clock
from services.worker.cuda import UNDER_WAY, limit_memory
from services.worker.domain import FailureCode, LoadError, LoadReport
from services.worker.engine import Engine, choose_device, mixed_precision
from services.worker.golden import GoldenCheck
from services.worker.loader import load_program
from services.worker.settings import WorkerSettings
from services.worker.timing import HELPS, Timer


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that is ready to serve.

    Attributes:
        engine: loaded, warm, set to the precision that it runs in.
        max_rows: rows of its largest batch.
        report: what was measured.
    """

    engine: Engine
    max_rows: int
    report: LoadReport


def prepare(folder: Path, manifest: Manifest, settings: WorkerSettings, clock: Clock, ordered_at: float) -> Prepared:
    """Loads, verifies and warms a version.

    Args:
        folder: its artifact, whole and undamaged.
        manifest: the artifact's.
        settings: device, precision, batch limits, allowed architectures.
        clock: times the batches.
        ordered_at: when loading was ordered, by the monotonic clock.

    Raises:
        LoadError: it cannot be loaded, or does not answer as it did when it was packaged.
    """
    try:
        device = choose_device(settings.device)
        if device.type == "cuda":
            _ready(settings.version_device_memory_bytes, device)
        golden = read_golden(folder, manifest)
        engine = Engine(load_program(folder, manifest, settings.allowed_architectures), manifest, device)
        check = GoldenCheck(engine, golden, manifest)
        wanted = settings.precision if manifest.precision is Precision.AUTO else manifest.precision
        limit = min(manifest.max_batch, settings.max_batch)
        prepared = _verified(check, Timer(engine, check, clock), limit, settings, wanted, ordered_at)
        if manifest.architecture is None:
            return prepared
        built = f"{manifest.architecture.name} of {package_of(find(manifest.architecture.name))}"
        return replace(prepared, report=replace(prepared.report, architecture=built))
    except torch.OutOfMemoryError as error:
        raise LoadError(f"the device's memory is too small for it: {str(error).splitlines()[0]}") from error
    except (ArtifactError, ArchitectureError, ValueError) as error:
        raise LoadError(str(error)) from error


def _ready(limit: int, device: torch.device) -> None:
    """A GPU that this process can use, and how much of it."""
    # The fork server has had to ask CUDA, which this process now can't.
    if torch.cuda._is_in_bad_fork():  # noqa: SLF001 - nothing public tells
        raise LoadError(
            "the GPU cannot be used, since there is no NVML (libnvidia-ml.so) to find it by; give the container the "
            "driver's capability `utility` (NVIDIA_DRIVER_CAPABILITIES=compute,utility), or set CROSSFADE_DEVICE=cpu"
        )
    if limit:
        limit_memory(device, limit)


def _verified(
    check: GoldenCheck,
    timer: Timer,
    limit: int,
    settings: WorkerSettings,
    wanted: Precision,
    ordered_at: float,
) -> Prepared:
    engine = timer.engine
    error = check.error(Precision.FP32, limit)
    if not error <= 1:
        raise LoadError(check.complaint(Precision.FP32, error), FailureCode.VERIFY_FAILED)
    gpu = engine.device.type == "cuda"
    graphs = gpu and settings.cuda_graphs
    # The speed of a GPU counts where batches are large; a processor has most to do for the first of a batch's rows.
    rows = _largest_batch(timer, Precision.FP32, limit, settings.batch_seconds) if gpu else 1
    full = timer.served_seconds(rows, Precision.FP32, graphs=graphs)
    trial = _Trial(0.0, 0.0, "full precision was asked for")
    mixed = mixed_precision(engine.device, wanted)
    if mixed is not None:
        trial = _try_mixed(check, timer, mixed, limit, rows, graphs=graphs)
        if trial.agrees and wanted is Precision.AUTO and not _helps(timer, mixed, trial.seconds / full):
            slower = f"{mixed} takes {trial.seconds * 1e3:.3f} ms instead of {full * 1e3:.3f} for a batch of {rows}"
            trial = _Trial(trial.error, trial.seconds, f"full precision, since {slower}")
    elif wanted is Precision.AUTO:
        trial = _Trial(0.0, 0.0, "this processor has no instructions for bfloat16, which is tried if it is asked for")
    engine.settle(mixed if mixed is not None and trial.agrees else Precision.FP32)
    max_rows = _largest_batch(timer, engine.precision, limit, settings.batch_seconds)
    engine.reserve(max_rows)
    recorded = _recorded(check, engine, max_rows) if graphs else ""
    report = LoadReport(
        device=str(engine.device),
        precision=engine.precision,
        load_seconds=timer.clock.monotonic() - ordered_at,
        full_seconds=full,
        mixed_seconds=trial.seconds,
        timed_rows=rows,
        golden_error=trial.error if trial.agrees else error,
        mixed_error=trial.error,
        precision_reason=trial.reason + recorded,
    )
    return Prepared(engine, max_rows, report)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Mixed precision: its error over the tolerance, its runtime in seconds, what follows and why."""

    error: float
    seconds: float
    reason: str
    agrees: bool = False


def _try_mixed(check: GoldenCheck, timer: Timer, mixed: Precision, limit: int, rows: int, *, graphs: bool) -> _Trial:
    try:
        error = check.error(mixed, limit)
        seconds = timer.served_seconds(rows, mixed, graphs=graphs)
    except LoadError as failure:
        return _Trial(0.0, 0.0, f"full precision, since {failure}")
    except torch.OutOfMemoryError:
        timer.engine.drop(mixed)
        return _Trial(0.0, 0.0, f"full precision, since the device's memory is too small to try {mixed}")
    if not error <= 1:
        return _Trial(_finite_or_zero(error), seconds, f"full precision, since {check.complaint(mixed, error)}")
    return _Trial(error, seconds, f"{mixed} agrees with the golden outputs ({error:.2g} of the tolerance)", agrees=True)


def _helps(timer: Timer, mixed: Precision, share: float) -> bool:
    """Whether mixed precision takes clearly less time; `share`: how much of full precision's it took."""
    return share <= HELPS if timer.engine.device.type == "cuda" else timer.helps(mixed)


def _finite_or_zero(error: float) -> float:
    return error if np.isfinite(error) else 0.0


def _largest_batch(timer: Timer, precision: Precision, limit: int, seconds: float) -> int:
    """Warms up every power of two up to `limit`; answers the largest size within `seconds`."""
    best = 1
    for rows in _sizes(limit):
        try:
            if timer.seconds(rows, precision) > seconds:
                break
        except torch.OutOfMemoryError:
            break
        best = rows
    return best


def _recorded(check: GoldenCheck, engine: Engine, max_rows: int) -> str:
    """Records graphs and proves them by the golden outputs; says what came of it, as the end of a sentence."""
    sizes = [1, *_sizes(max_rows)]
    try:
        engine.record(sizes)
        # Each size has a graph for each of the batches that may be under way, and these take turns.
        proved = [size for size in sizes for _ in range(UNDER_WAY)]
        error = float(np.max([check.error_of(0, size, engine.precision) for size in proved]))
    except Exception as failure:  # noqa: BLE001 - whatever keeps a program from being recorded, it runs without
        engine.forget()
        # A recording that has failed ends with an error of its own, and the program's is what led to it.
        return f"; without CUDA graphs, since {str(failure.__context__ or failure).partition(chr(10))[0][:200]}"
    if not error <= 1:
        engine.forget()
        return f"; without CUDA graphs, since {check.complaint(engine.precision, error)}"
    return f"; with CUDA graphs of up to {max_rows} rows"


def _sizes(limit: int) -> Iterator[int]:
    rows = 2
    while rows < limit:
        yield rows
        rows *= 2
    if limit > 1:
        yield limit
