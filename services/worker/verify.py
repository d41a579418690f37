"""What a version must show before it is called ready: its golden answers, finite, in every way that it will run.

Runtimes are medians of a few batches after a warm-up of the same size.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from crossfade.architecture import ArchitectureError, find, package_of
from crossfade.artifact import AnsweredRows, ArtifactError, read_golden
from crossfade.manifest import Manifest, Precision, Signature, Tolerance
from services.common.clock import Clock
from services.worker.cuda import limit_memory
from services.worker.domain import FailureCode, LoadError, LoadReport
from services.worker.engine import Engine, EngineOutput, choose_device, mixed_precision
from services.worker.loader import load_program
from services.worker.settings import WorkerSettings
from services.worker.tensors import Array, to_numbers, to_stored

SINGLE_ROWS: Final = 8
"""Golden rows that are also run one by one."""
_HELPS: Final = 0.9
_PAIRS: Final = 10
_MOST_PAIRS_LOST: Final = 1
"""Where it is for the timing to say, mixed precision has to take so much of full precision's time for one row, or less,
in nearly all of so many runs in turns: a busy moment of the machine is no reason to answer less exactly."""
_TIMED_RUNS: Final = 7
_TIMED_SECONDS: Final = 0.5
"""A size is timed for no longer than this, or once."""


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
        if device.type == "cuda" and settings.version_device_memory_bytes:
            limit_memory(device, settings.version_device_memory_bytes)
        golden = read_golden(folder, manifest)
        engine = Engine(load_program(folder, manifest, settings.allowed_architectures), manifest, device)
        check = _GoldenCheck(engine, golden, manifest)
        wanted = settings.precision if manifest.precision is Precision.AUTO else manifest.precision
        limit = min(manifest.max_batch, settings.max_batch)
        prepared = _verified(check, _Timer(engine, check, clock), limit, settings, wanted, ordered_at)
        if manifest.architecture is None:
            return prepared
        built = f"{manifest.architecture.name} of {package_of(find(manifest.architecture.name))}"
        return replace(prepared, report=replace(prepared.report, architecture=built))
    except torch.OutOfMemoryError as error:
        raise LoadError(f"the device's memory is too small for it: {str(error).splitlines()[0]}") from error
    except (ArtifactError, ArchitectureError, ValueError) as error:
        raise LoadError(str(error)) from error


def _verified(
    check: "_GoldenCheck",
    timer: "_Timer",
    limit: int,
    settings: WorkerSettings,
    wanted: Precision,
    ordered_at: float,
) -> Prepared:
    engine = timer.engine
    error = check.error(Precision.FP32, limit)
    if not error <= 1:
        raise LoadError(check.complaint(Precision.FP32, error), FailureCode.VERIFY_FAILED)
    full = timer.seconds(1, Precision.FP32)
    trial = _Trial(0.0, 0.0, "full precision was asked for")
    mixed = mixed_precision(engine.device, wanted)
    if mixed is not None:
        trial = _try_mixed(check, timer, mixed, limit)
        if trial.agrees and wanted is Precision.AUTO and not timer.helps(mixed):
            slower = f"full precision, since {mixed} takes {trial.seconds * 1e3:.3f} ms instead of {full * 1e3:.3f}"
            trial = _Trial(trial.error, trial.seconds, slower)
    elif wanted is Precision.AUTO:
        trial = _Trial(0.0, 0.0, "this processor has no instructions for bfloat16, which is tried if it is asked for")
    engine.settle(mixed if mixed is not None and trial.agrees else Precision.FP32)
    max_rows = _largest_batch(timer, engine.precision, limit, settings.batch_seconds)
    engine.reserve(max_rows)
    recorded = _recorded(check, engine, max_rows) if engine.device.type == "cuda" and settings.cuda_graphs else ""
    report = LoadReport(
        device=str(engine.device),
        precision=engine.precision,
        load_seconds=timer.clock.monotonic() - ordered_at,
        full_seconds=full,
        mixed_seconds=trial.seconds,
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


def _try_mixed(check: "_GoldenCheck", timer: "_Timer", mixed: Precision, limit: int) -> _Trial:
    try:
        error = check.error(mixed, limit)
        seconds = timer.seconds(1, mixed)
    except LoadError as failure:
        return _Trial(0.0, 0.0, f"full precision, since {failure}")
    except torch.OutOfMemoryError:
        timer.engine.drop(mixed)
        return _Trial(0.0, 0.0, f"full precision, since the device's memory is too small to try {mixed}")
    if not error <= 1:
        return _Trial(_finite_or_zero(error), seconds, f"full precision, since {check.complaint(mixed, error)}")
    return _Trial(error, seconds, f"{mixed} agrees with the golden outputs ({error:.2g} of the tolerance)", agrees=True)


def _finite_or_zero(error: float) -> float:
    return error if np.isfinite(error) else 0.0


def _largest_batch(timer: "_Timer", precision: Precision, limit: int, seconds: float) -> int:
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


def _recorded(check: "_GoldenCheck", engine: Engine, max_rows: int) -> str:
    """Records graphs and proves them by the golden outputs; says what came of it, as the end of a sentence."""
    sizes = [1, *_sizes(max_rows)]
    try:
        engine.record(sizes)
        error = float(np.max([check.error_of(0, size, engine.precision) for size in sizes]))
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


class _GoldenCheck:
    def __init__(self, engine: Engine, golden: AnsweredRows, manifest: Manifest) -> None:
        signature: Signature = manifest.signature
        self._engine = engine
        self._signature = signature
        self._tolerance: Tolerance = manifest.tolerance
        self.rows = golden.count
        self.max_batch = manifest.max_batch
        self.inputs: list[Array] = [to_stored(spec.dtype, golden.inputs[spec.name]) for spec in signature.inputs]
        self._expected = [golden.outputs[spec.name].astype(np.float64) for spec in signature.outputs]
        if not all(np.isfinite(expected).all() for expected in self._expected):
            raise LoadError("its golden outputs hold NaN or infinities", FailureCode.VERIFY_FAILED)

    def run(self, start: int, stop: int, precision: Precision) -> EngineOutput:
        """Runs golden rows; `stop` may lie beyond the last row, which then are repeated."""
        index = np.arange(start, stop) % self.rows
        try:
            output = self._engine.run([array[index] for array in self.inputs], precision)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise LoadError(
                f"the program raised {type(error).__name__} on {stop - start} golden rows in {precision}: {error}",
                FailureCode.VERIFY_FAILED,
            ) from error
        for array, spec in zip(output.arrays, self._signature.outputs, strict=True):
            if array.shape != (stop - start, *spec.shape[1:]):
                raise LoadError(
                    f"output {spec.name!r} has the shape {list(array.shape)} for {stop - start} rows, "
                    f"its signature says {list(spec.shape)}",
                    FailureCode.VERIFY_FAILED,
                )
        return output

    def error(self, precision: Precision, limit: int) -> float:
        """Largest difference from the golden outputs over the tolerance, in batches of `limit` and one by one."""
        worst = 0.0
        spans = [(start, min(start + limit, self.rows)) for start in range(0, self.rows, limit)]
        spans += [(row, row + 1) for row in range(min(SINGLE_ROWS, self.rows))]
        for start, stop in spans:
            error = self.error_of(start, stop, precision)
            if np.isnan(error):
                return error
            worst = max(worst, error)
        return worst

    def error_of(self, start: int, stop: int, precision: Precision) -> float:
        """The same of the golden rows from `start` to `stop` as one batch; beyond the last row they are repeated."""
        output = self.run(start, stop, precision)
        if output.finite is not None:
            return float("nan")
        index, worst = np.arange(start, stop) % self.rows, 0.0
        for array, spec, expected in zip(output.arrays, self._signature.outputs, self._expected, strict=True):
            wanted = expected[index]
            difference = np.abs(to_numbers(spec.dtype, array) - wanted)
            allowed = self._tolerance.atol + self._tolerance.rtol * np.abs(wanted)
            # No difference is right even where none is allowed.
            ratio = np.divide(difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=allowed > 0)
            worst = max(worst, float(ratio.max(initial=0.0)))
        return worst

    def complaint(self, precision: Precision, error: float) -> str:
        """What is wrong with the answers, as a sentence."""
        if np.isnan(error):
            return f"its answers to the golden inputs hold NaN or infinities in {precision}"
        return (
            f"its answers to the golden inputs differ in {precision} by {error:.3g} times the tolerance "
            f"(rtol {self._tolerance.rtol:g}, atol {self._tolerance.atol:g})"
        )


class _Timer:
    def __init__(self, engine: Engine, check: _GoldenCheck, clock: Clock) -> None:
        self.engine = engine
        self._check = check
        self.clock = clock

    def seconds(self, rows: int, precision: Precision) -> float:
        """Median runtime of a batch of `rows`, after a warm-up."""
        self._check.run(0, rows, precision)
        taken: list[float] = []
        while len(taken) < _TIMED_RUNS and sum(taken) < _TIMED_SECONDS:
            taken.append(self._once(rows, precision))
        return statistics.median(taken)

    def helps(self, mixed: Precision) -> bool:
        """Whether one row takes clearly less time in mixed than in full precision."""
        lost = 0
        for _ in range(_PAIRS):
            full, less = (self._once(1, precision) for precision in (Precision.FP32, mixed))
            lost += less > _HELPS * full
        return lost <= _MOST_PAIRS_LOST

    def _once(self, rows: int, precision: Precision) -> float:
        start = self.clock.monotonic()
        self._check.run(0, rows, precision)
        return self.clock.monotonic() - start
