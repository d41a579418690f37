"""What a device's error means: too little memory, or the device's end."""

import pytest
import torch

from services.worker.engine.device_errors import is_lost, is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
)
def test_too_little_memory_leaves_the_device_as_it_was(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_lost(error)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (IndexError("index out of range in self"), False),
    ],
)
def test_other_errors_are_the_program_s_or_the_device_s(error: Exception, lost: bool) -> None:
    assert not is_out_of_memory(error)
    assert is_lost(error) is lost
