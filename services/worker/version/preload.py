"""What the fork server imports, so that its forks need not.

Importing this module runs something, unlike any other: torch imports half of what it needs to read a program at the
first reading, which takes 2.5 s, so one is written and read here. It must leave no thread or channel behind, for a fork
has none of its parent's threads, and not ask CUDA for anything.
"""

import contextlib
import gc
import io
import os
import warnings
from collections.abc import Iterator

import opentelemetry.exporter.otlp.proto.grpc.trace_exporter  # noqa: F401 - at need, each fork would import it
import torch

from services.worker.version import child

__all__ = ["child"]


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


@contextlib.contextmanager
def _without_gpus() -> Iterator[None]:
    """Torch asks for GPUs whenever it reads a program, and once CUDA has been asked, no fork can use one any more.

    Asked this way it answers by itself that there are none ("CUDA semantics", "Poison fork in multiprocessing").
    """
    hiding = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    before = {name: os.environ.get(name) for name in hiding}
    os.environ.update(hiding)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with warnings.catch_warnings(), _without_gpus():
    warnings.simplefilter("ignore")
    _read_one_program()
# A collection writes to every object that it looks at, and so copies what forks share (gc.freeze): torch's took each
# engine 0.3 s and 80 MB.
gc.collect()
gc.freeze()
