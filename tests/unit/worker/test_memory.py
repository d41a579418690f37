"""Memory of a process alone."""

import os
import signal

from services.worker.version.memory import own_bytes


def test_memory_that_is_shared_is_nobodys_own() -> None:
    before = own_bytes(os.getpid())
    kept = bytearray(os.urandom(50_000_000))
    assert 45e6 < own_bytes(os.getpid()) - before < 55e6
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        assert own_bytes(pid) < 45e6
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert len(kept) == 50_000_000
