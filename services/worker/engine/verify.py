"""What a version must show before it is called ready: its golden answers, finite, in every way that it will run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from crossfade.architecture import ArchitectureError, find, package_of
from crossfade.artifact import ArtifactError, read_golden
from crossfade.manifest import Manifest, Precision
from services.common.clock import Clock
from services.common.telemetry.logs import make_log
from services.common.text import first_line
from services.worker.domain import FailureCode, LoadError, LoadReport
from services.worker.engine.compiling import Compiler, compile_program
from services.worker.engine.cuda import limit_memory
from services.worker.engine.device_errors import is_out_of_memory
from services.worker.engine.engine import TORCH, Engine, choose_device, mixed_precision
from services.worker.engine.golden import GoldenCheck
from services.worker.engine.index_bounds import index_bounds
from services.worker.engine.light import pack_if_light
from services.worker.engine.loader import load_program
from services.worker.engine.recording import Recorder
from services.worker.engine.timing import Timer
from services.worker.settings import WorkerSettings

_NO_ANSWERS: Final = -1.0
"""An error as a report has it of answers that no number measures."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version that is ready to serve.

    Attributes:
        engine: loaded, warm, set to the precision that it runs in.
        max_rows: rows of its largest batch.
        report: what was measured.
        bounds: of each input's numbers; see `index_bounds`.
        keeps_nothing: it writes neither to what it is given nor to what it holds.
        light: the program for a front-end that runs single rows itself; empty: the engine runs all.
    """

    engine: Engine
    max_rows: int
    report: LoadReport
    bounds: tuple[int, ...] = ()
    keeps_nothing: bool = False
    light: bytes = b""


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
            _claim(device, settings.version_device_memory_bytes)
        golden = read_golden(folder, manifest)
        program = load_program(folder, manifest, settings.allowed_architectures)
        bounds = index_bounds(program, [TORCH[spec.dtype] for spec in manifest.signature.inputs])
        engine = Engine(program, manifest, device)
        check = GoldenCheck(engine, golden, manifest)
        recorder = Recorder(engine, check, wanted=device.type == "cuda" and settings.cuda_graphs)
        timer = Timer(engine, check, recorder, clock)
        compiled = partial(compile_program, folder, engine, settings, check.inputs(0, 1))
        compiler = Compiler(engine, check, timer, settings, compiled)
        prepared = _verified(engine, check, recorder, timer, compiler, manifest, settings)
        built = None
        if manifest.architecture is not None:
            built = f"{manifest.architecture.name} of {package_of(find(manifest.architecture.name))}"
        taken = clock.monotonic() - ordered_at
        report = replace(prepared.report, load_seconds=taken, architecture=built or "")
        light = b""
        if prepared.keeps_nothing and settings.inline_rows and not settings.compile_programs and device.type == "cpu":
            light = _light(program, engine.tensors(check.inputs(0, 1)), folder, engine.precision, settings)
        return replace(prepared, report=report, bounds=check.within(bounds), light=light)
    except (torch.OutOfMemoryError, torch.AcceleratorError) as error:
        if is_out_of_memory(error):
            advice = "make room on it, or allow more by CROSSFADE_VERSION_DEVICE_MEMORY_BYTES if that is set"
            raise LoadError(f"the device's memory is too small for it: {first_line(error)}; {advice}") from error
        raise LoadError(f"the device failed while it was loaded: {first_line(error)}") from error
    except (ArtifactError, ArchitectureError, ValueError) as error:
        raise LoadError(str(error)) from error


def _claim(device: torch.device, limit: int) -> None:
    """Takes the GPU into use, and of its memory no more than `limit` bytes unless that is 0."""
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call] # torch leaves it unannotated
    except RuntimeError as error:
        raise LoadError(f"the GPU cannot be used: {first_line(error)}; CROSSFADE_DEVICE=cpu does without") from error
    if limit:
        limit_memory(device, limit)


def _verified(
    engine: Engine,
    check: GoldenCheck,
    recorder: Recorder,
    timer: Timer,
    compiler: Compiler,
    manifest: Manifest,
    settings: WorkerSettings,
) -> Prepared:
    wanted = settings.precision if manifest.precision is Precision.AUTO else manifest.precision
    limit = min(manifest.max_batch, settings.max_batch)
    error = check.error(Precision.FP32, limit)
    if not error <= 1:
        raise _refused(check.complaint(Precision.FP32, error), error)
    # The speed of a GPU counts where batches are large; a processor has most to do for the first of a batch's rows.
    gpu = engine.device.type == "cuda"
    rows = timer.largest(_sizes(limit), Precision.FP32, settings.batch_seconds) if gpu else 1
    full = timer.served_seconds(rows, Precision.FP32)
    trial = _Trial(0.0, 0.0, "full precision was asked for")
    mixed = mixed_precision(engine.device, wanted)
    if mixed is not None:
        trial = _try_mixed(engine, check, timer, mixed, limit, rows)
        if trial.agrees and wanted is Precision.AUTO and not timer.helps(mixed, rows, full, trial.seconds):
            took = f"{trial.seconds * 1e3:.3f} and {full * 1e3:.3f} ms for a batch of {rows}"
            slower = f"full precision, since {mixed} was not a tenth faster run after run ({took})"
            trial = _Trial(trial.error, trial.seconds, slower)
        if trial.agrees:
            largest = timer.largest(_sizes(limit), mixed, settings.batch_seconds)
            trial = trial.after(*check.worst_batch([1, *_sizes(largest)], mixed), check, mixed)
    elif wanted is Precision.AUTO:
        trial = _Trial(0.0, 0.0, "this processor has no instructions for bfloat16, which is tried if it is asked for")
    keeps_nothing = engine.keeps_nothing
    engine.settle(mixed if mixed is not None and trial.agrees else Precision.FP32)
    max_rows, compiled = compiler.settle(list(_sizes(limit)), may=keeps_nothing)
    # Golden rows are few: what larger batches do to an answer, only larger batches show.
    worst, batch = check.worst_batch([1, *_sizes(max_rows)], engine.precision)
    if not worst <= 1:
        raise _refused(check.complaint(engine.precision, worst, batch), worst, batch > check.rows)
    engine.reserve(max_rows)
    recorded = recorder.settle([1, *_sizes(max_rows)])
    report = LoadReport(
        device=str(engine.device),
        precision=engine.precision,
        # Known when all is done.
        load_seconds=0.0,
        full_seconds=full,
        mixed_seconds=trial.seconds,
        timed_rows=rows,
        golden_error=error if trial.agrees else max(error, worst),
        mixed_error=max(trial.error, worst) if trial.agrees else trial.error,
        max_rows=max_rows,
        precision_reason=trial.reason + compiled + recorded,
    )
    return Prepared(engine, max_rows, report, keeps_nothing=keeps_nothing)


def _light(
    program: torch.nn.Module, row: Sequence[torch.Tensor], folder: Path, precision: Precision, settings: WorkerSettings
) -> bytes:
    """The program for front-ends, if it is light."""
    try:
        return pack_if_light(program, row, precision)
    except Exception as error:  # noqa: BLE001 - whatever it was, the engine has shown that it can
        log = make_log("crossfade-worker", settings.log_level)
        reason = f"{type(error).__name__}: {first_line(error)}"
        log.warning("rows that come alone are run by the engine too", folder=str(folder), reason=reason)
        return b""


def _refused(complaint: str, error: float, larger: bool = False) -> LoadError:
    """`larger`: only a batch of more than the golden rows shows it, which alone were looked at in packaging."""
    advice = "package it again, with a tolerance that covers what a row's answer varies by from machine to machine"
    if larger:
        advice = f"compute each row by itself, so that no other row of its batch changes its answer; or {advice}"
    if np.isnan(error):
        advice = "a version must answer every golden row with finite numbers"
    return LoadError(f"{complaint}; {advice}", FailureCode.VERIFY_FAILED)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Mixed precision: its error over the tolerance, its runtime in seconds, what follows and why."""

    error: float
    seconds: float
    reason: str
    agrees: bool = False

    def after(self, error: float, rows: int, check: GoldenCheck, mixed: Precision) -> "_Trial":
        """The trial after larger batches, the worst of which had `rows`."""
        if error <= 1:
            return replace(self, error=max(self.error, error))
        return _Trial(_said(error), self.seconds, f"full precision, since {check.complaint(mixed, error, rows)}")


def _try_mixed(engine: Engine, check: GoldenCheck, timer: Timer, mixed: Precision, limit: int, rows: int) -> _Trial:
    try:
        error = check.error(mixed, limit)
        seconds = timer.served_seconds(rows, mixed)
    except LoadError as failure:
        return _Trial(_NO_ANSWERS, 0.0, f"full precision, since {failure}")
    except torch.OutOfMemoryError:
        engine.drop(mixed)
        return _Trial(0.0, 0.0, f"full precision, since the device's memory is too small to try {mixed}")
    if not error <= 1:
        return _Trial(_said(error), seconds, f"full precision, since {check.complaint(mixed, error)}")
    return _Trial(error, seconds, f"{mixed} agrees with the golden outputs ({error:.2g} of the tolerance)", agrees=True)


def _said(error: float) -> float:
    """An error as a report has it: below 0 where no number says how large it is."""
    return error if np.isfinite(error) else _NO_ANSWERS


def _sizes(limit: int) -> Iterator[int]:
    rows = 2
    while rows < limit:
        yield rows
        rows *= 2
    if limit > 1:
        yield limit
