"""What the examples share when they train."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread, since sums depend on how they are divided, and torch's random state left as it was.

    So small models are trained fastest by one thread, too, most of all where others want the processors.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
