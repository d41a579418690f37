"""Calls to Registries in turn, so that a busy moment of the machine hits them all."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from benchmarks.registries import Stub

ROUNDS: Final = 200
WARM_UP: Final = 10

Call = Callable[[Stub], Awaitable[object]]
"""What is timed, of one of them."""


async def alternate(stubs: "dict[str, Stub]", call: Call) -> dict[str, list[float]]:
    """How many seconds the call took at each Registry, round by round."""
    taken: dict[str, list[float]] = {name: [] for name in stubs}
    for stub in stubs.values():
        for _ in range(WARM_UP):
            await call(stub)
    for turn in range(ROUNDS):
        for name in sorted(stubs, reverse=turn % 2 == 1):
            began = time.perf_counter()
            await call(stubs[name])
            taken[name].append(time.perf_counter() - began)
    return taken
