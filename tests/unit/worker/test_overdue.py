"""One timer for many requests."""

import asyncio

from services.worker.front_end.overdue import Overdue
from tests.support.wait import until


async def test_each_is_acted_on_at_its_time_and_again_if_it_says_so() -> None:
    now, acted = [0.0], list[str]()

    def act(item: str) -> float | None:
        acted.append(item)
        return 5.0 if item == "twice" and acted.count(item) == 1 else None

    overdue = Overdue(lambda: now[0], act)
    for item, due in (("late", 2.0), ("early", 1.0), ("twice", 1.5), ("gone", 1.0)):
        overdue.add(item, due)
    overdue.discard("gone")
    overdue.discard("never there")
    now[0] = 1.6
    await until(lambda: acted == ["early", "twice"])
    now[0] = 2.0
    await until(lambda: acted[2:] == ["late"])
    now[0] = 5.0
    await until(lambda: acted[3:] == ["twice"])
    # Nothing is left, so the timer rests; what comes later wakes it again.
    await until(lambda: len(asyncio.all_tasks()) == 1)
    overdue.add("later", 5.0)
    await until(lambda: acted[4:] == ["later"])
