"""Forks as backends do, and prints a line for what a call answers in each child: `python -m … HOW ADDRESS CHILDREN`.

A process of its own, for pytest's has servers and threads.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np

from crossfade.client import AsyncClient, Client, PredictError

ROWS = np.zeros((1, 2), dtype=np.float32)
CHILD_SECONDS = 20.0
_QUIET_LOOKS = 10


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def version(client: Client) -> str:
    return client.predict("churn", ROWS).version


def version_of_asyncio(client: AsyncClient) -> str:
    async def predict() -> str:
        return (await client.predict("churn", ROWS)).version

    return asyncio.run(predict())


def before_any_call(address: str, children: int) -> None:
    """A client that is made where the application is loaded, as under gunicorn --preload."""
    client = Client(address)
    fork(children, lambda: version(client))


def after_a_call(address: str, children: int) -> None:
    client = Client(address)
    client.predict("churn", ROWS)
    fork(children, lambda: version(client))
    say(f"parent: {version(client)}")


def after_anothers_call(address: str, children: int) -> None:
    """Another library's channel is open."""
    channel = grpc.insecure_channel(address)
    grpc.channel_ready_future(channel).result(CHILD_SECONDS)
    until_quiet()
    client = Client(address)
    fork(children, lambda: version(client))
    channel.close()


def amid_calls(address: str, children: int) -> None:
    """Other threads call all the time, and hold the channel's locks now and then."""
    client = Client(address)
    ended = threading.Event()

    def call() -> None:
        while not ended.is_set():
            client.predict("churn", ROWS)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    fork(children, lambda: version(client))
    ended.set()
    for caller in callers:
        caller.join()


def amid_a_long_call(address: str, children: int) -> None:
    client = Client(address)
    caller = threading.Thread(target=client.predict, args=("churn", ROWS), kwargs={"timeout": 30.0}, daemon=True)
    caller.start()
    # The house says on standard input when the call has reached it.
    sys.stdin.readline()
    fork(children, lambda: version(client))


def without_imports(address: str, children: int) -> None:
    """Says what a first call has imported, beside OpenTelemetry and parts of gRPC: a fork waits for these."""
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # as if it were not installed
    client, of_asyncio = Client(address), AsyncClient(address)
    before = set(sys.modules)
    fork(children, lambda: version(client))
    say(f"parent: {version(client)}")
    version_of_asyncio(of_asyncio)
    for name in sorted(set(sys.modules) - before):
        if not name.startswith("grpc."):
            say(f"imported: {name}")


def under_asyncio(address: str, children: int) -> None:
    client = AsyncClient(address)

    def in_child() -> str:
        # The parent's loop is none of the child's.
        asyncio._set_running_loop(None)
        return version_of_asyncio(client)

    async def parent() -> None:
        say(f"parent: {(await client.predict('churn', ROWS)).version}")
        fork(children, in_child)
        say(f"parent: {(await client.predict('churn', ROWS)).version}")

    asyncio.run(parent())


def before_asyncio(address: str, children: int) -> None:
    client = AsyncClient(address)
    fork(children, lambda: version_of_asyncio(client))
    say(f"parent: {version_of_asyncio(client)}")


def fork(children: int, call: Callable[[], str]) -> None:
    for _ in range(children):
        process = os.fork()
        if not process:
            try:
                said = call()
            except (RuntimeError, PredictError) as error:
                said = f"{type(error).__name__}: {error}"
            say(f"child: {said}")
            os._exit(0)
        if not ended_in_time(process):
            say("child: hangs")
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def until_quiet() -> None:
    """Waits until all other threads wait: none of them holds a lock for more than a moment then."""
    end, looks = time.monotonic() + CHILD_SECONDS, 0
    before: list[str] = []
    while looks < _QUIET_LOOKS and time.monotonic() < end:
        switches = switches_of_others()
        looks, before = (looks + 1 if switches == before else 0), switches
        time.sleep(0.01)


def switches_of_others() -> list[str]:
    """How often other threads have begun to wait or were interrupted."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != threading.get_native_id():
            # One may have ended meanwhile.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [line for line in (task / "status").read_text().splitlines() if "ctxt_switches" in line]
    return found


def ended_in_time(process: int) -> bool:
    end = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    # Threads that are left in gRPC would be waited for.
    os._exit(0)
