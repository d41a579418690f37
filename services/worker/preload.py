"""What the fork server imports, so that its forks need not.

Importing this module runs something, unlike any other: torch imports half of what it needs to read a program at the
first reading, which takes 2.5 s, so one is written and read here. It must leave no thread, channel or CUDA context
behind, for a fork has none of its parent's threads.
"""

import io
import warnings

import torch

from services.worker import child

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


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _read_one_program()
