"""Priority goes down once, and not for a burst."""

from services.worker.front_end.overload import REFUSALS, Overload


def test_it_yields_once_after_many_refusals() -> None:
    lowered: list[int] = []
    overload = Overload(lambda: lowered.append(1))
    for _ in range(REFUSALS - 1):
        overload.refused()
    assert lowered == []
    for _ in range(3 * REFUSALS):
        overload.refused()
    assert lowered == [1]
