"""What an error of a device means: that it is gone, or that its memory was too small."""

from typing import Final

import torch

_OUT_OF_MEMORY: Final = (
    "DefaultCPUAllocator: can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)
"""What errors say that torch has no class of its own for: of the CPU's memory (c10/core/impl/alloc_cpu.cpp), of the
driver's, and of what CUDA's libraries take for themselves."""


def is_lost(error: Exception) -> bool:
    """Whether the device fails from here on whatever it is asked for, until its process ends (a CUDA error)."""
    # Memory that the driver did not get for itself is such an error too, and leaves the device as it was
    # (cudaErrorMemoryAllocation, CUDA Runtime API); should it not, the next one says so.
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device's memory was too small for what was run, which may fit in smaller batches."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _OUT_OF_MEMORY)
