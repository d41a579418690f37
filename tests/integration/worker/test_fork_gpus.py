"""The fork server leaves GPUs to its forks, with and without NVML; CUDA is told by a driver made here.

`test_cuda.py` has versions on a real GPU.
"""

import os
import subprocess
import sys

import pytest

_FORKS = """
import ctypes, os, sys, types, torch

first = None

def ask():
    "As the driver: who asks first has a GPU, and none of its forks."
    global first
    first = first or os.getpid()
    return int(first == os.getpid())

def is_available():
    return False if {nvml} and os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") else bool(ask()) and False

torch.cuda._is_compiled = lambda: False
torch._C._cuda_getDeviceCount = lambda: 1  # Torch remembers it, in forks too.
torch.cuda.is_available = is_available
library = ctypes.CDLL
ctypes.CDLL = lambda name, *a, **k: (
    types.SimpleNamespace(cuInit=lambda flags: 0 if ask() else 3) if name == "libcuda.so.1" else library(name, *a, **k)
)
import services.worker.version.preload as preload
from services.worker.version.harmless import _in_fork

print(first, "torch._export.serde.serialize" in sys.modules, _in_fork(preload._count_gpus), *os.environ.get(
    "PYTORCH_NVML_BASED_CUDA_CHECK", "-"))
"""
_TRIED = """
import os
from services.worker.version.harmless import is_harmless

taken = set()

def harm():
    taken.add(os.getpid())

def refuse():
    raise RuntimeError("not here")

def end():
    os._exit(1)

def count():
    return 0 if taken else 2

acts = (lambda: None, harm, refuse, end)
print(*(is_harmless(act, count) for act in acts), is_harmless(harm, lambda: 0), taken)
"""


def said(script: str) -> str:
    """By a process that has no thread, since it forks."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("nvml", "reads"), [(True, True), (False, False)])
def test_the_fork_server_reads_a_program_only_if_its_forks_have_gpus_then(nvml: bool, reads: bool) -> None:
    assert said(_FORKS.format(nvml=nvml)) == f"None {reads} 1 -"


def test_what_is_tried_is_tried_in_forks() -> None:
    assert said(_TRIED) == "True False False False True set()"
