"""What to do about what torch says of a module that fails."""

import pytest

from crossfade.artifact.export_faults import advice


@pytest.mark.parametrize(
    "said",
    [
        # A build for CPUs, one for CUDA on a machine without a GPU, and one on a machine with one.
        "Torch not compiled with CUDA enabled",
        "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver",
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    ],
)
def test_what_uses_a_gpu_is_told_the_same_whatever_torch_is_there(said: str) -> None:
    assert advice(RuntimeError(said)).startswith("; it is packaged on the CPU: make constants buffers")


def test_what_says_enough_gets_no_advice() -> None:
    assert not advice(RuntimeError("mat1 and mat2 shapes cannot be multiplied (8x4 and 5x5)"))
