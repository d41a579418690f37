"""Memory of a process alone."""

import os
import subprocess
import sys

import pytest

from services.worker.version.machine_memory import usable_bytes
from services.worker.version.memory import Bound, own_bytes

_FORKED = """
import os, signal
from services.worker.version.memory import own_bytes

before = own_bytes(os.getpid())
kept = os.urandom(50_000_000)
own = own_bytes(os.getpid())
pid = os.fork()
if pid == 0:
    signal.pause()
    os._exit(0)
try:
    print(own - before, own_bytes(pid), len(kept))
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


def test_memory_that_is_shared_is_nobodys_own() -> None:
    # In a process of its own, since one that has threads is not to be forked.
    command = [sys.executable, "-W", "error", "-c", _FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    own, childs, kept = map(int, done.stdout.split())
    assert kept == 50_000_000
    assert 45e6 < own < 55e6
    assert childs < 45e6


def test_of_a_process_within_its_bound_all_that_it_holds_is_told() -> None:
    own = own_bytes(os.getpid())
    assert own_bytes(os.getpid(), 1 << 50) > own
    assert own_bytes(os.getpid(), 1) == pytest.approx(own, rel=0.05)


def test_a_version_may_take_half_of_what_there_is_unless_a_bound_is_set() -> None:
    assert Bound.of(None).most == usable_bytes() // 2
    assert Bound.of(0) == (0, "CROSSFADE_VERSION_MEMORY_BYTES")
    assert Bound.of(300_000_000).most == 300_000_000
