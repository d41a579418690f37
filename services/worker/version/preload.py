"""What the fork server imports, so that its forks need not.

Importing this module runs something, unlike any other: torch imports half of what it needs to read a program at the
first reading, which takes 2.5 s, so one is written and read here. It must leave no thread or channel behind, for a fork
has none of its parent's threads, and not ask CUDA for anything.
"""

import ctypes
import gc
import io
import warnings
from typing import Final

import opentelemetry.exporter.otlp.proto.grpc.trace_exporter  # noqa: F401 - at need, each fork would import it
import torch

from services.common.environment import environment
from services.worker.version import child
from services.worker.version.harmless import is_harmless

__all__ = ["child"]
_ASKING_NVML: Final = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Torch asks for GPUs whenever it reads a program; so it asks NVML, where there is one, which harms no fork."""


def _read_one_program() -> None:
    threads = torch.get_num_threads()
    # One thread: OpenMP's pool would not survive the fork.
    torch.set_num_threads(1)
    program = torch.export.export(
        torch.nn.Identity(),
        (torch.zeros(2, 2),),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
    )
    stored = io.BytesIO()
    torch.export.save(program, stored)
    stored.seek(0)
    torch.export.load(stored).module(check_guards=False)  # noqa: TID251 - reads what it has just written
    torch.set_num_threads(threads)


def _count_gpus() -> int:
    """How many this process can use; the driver tells, for what torch has counted it remembers in forks too."""
    count = getattr(torch._C, "_cuda_getDeviceCount", None)  # noqa: SLF001 - what is public may ask NVML instead
    # A build of torch without CUDA cannot count them.
    if count is None or not count():
        return 0
    return int(count()) if ctypes.CDLL("libcuda.so.1").cuInit(0) == 0 else 0


with warnings.catch_warnings(), environment(_ASKING_NVML):
    warnings.simplefilter("ignore")
    # Otherwise each fork reads its program without, and takes those seconds longer: better than no GPU.
    if is_harmless(_read_one_program, _count_gpus):
        _read_one_program()
# A collection writes to every object that it looks at, and so copies what forks share (gc.freeze): torch's took each
# engine 0.3 s and 80 MB.
gc.collect()
gc.freeze()
