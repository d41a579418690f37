"""Pauses for larger batches: where they pay, and nowhere else."""

from services.worker.engine.gathering import Gathering


def pauses(gathering: Gathering, arrivals: list[int], *, rows: int = 1, shared: bool = True) -> int:
    """How often a batch pauses when each pause brings as many rows as `arrivals` says."""
    paused = 0
    while gathering.pays(paused, rows, shared=shared):
        more = arrivals[paused] if paused < len(arrivals) else 0
        gathering.brought(paused, more)
        rows += more
        paused += 1
    return paused


def settled(arrivals: list[int], rows: int = 1) -> int:
    """How often a batch pauses after long under the same traffic."""
    gathering = Gathering()
    for _ in range(2000):
        pauses(gathering, arrivals, rows=rows)
    return sorted(pauses(gathering, arrivals, rows=rows) for _ in range(101))[50]


def test_one_that_comes_alone_never_waits() -> None:
    gathering = Gathering()
    assert sum(pauses(gathering, [], shared=False) for _ in range(1000)) == 0


def test_where_nothing_waits_nothing_is_waited_for() -> None:
    gathering = Gathering()
    assert not gathering.pays(0, 0, shared=False)
    for _ in range(200):
        pauses(gathering, [6, 6])
    assert not gathering.pays(0, 0, shared=True)


def test_two_that_meet_by_chance_wait_rarely() -> None:
    gathering = Gathering()
    assert sum(pauses(gathering, []) for _ in range(1000)) < 70


def test_few_clients_pause_once_and_many_as_long_as_it_brings_much() -> None:
    # Eight clients: after the first pause most of them wait already.
    assert settled([3, 1, 0, 0]) == 1
    assert settled([5, 5, 5, 5]) == 2
    assert settled([9, 9, 9, 9]) == 2


def test_a_batch_pauses_four_times_at_most() -> None:
    assert settled([2, 4, 8, 16, 32, 64]) == 4


def test_what_waits_already_is_not_kept_waiting_for_little() -> None:
    assert settled([3, 3, 3, 3], rows=32) == 0


def test_it_stops_when_the_traffic_does() -> None:
    gathering = Gathering()
    for _ in range(2000):
        pauses(gathering, [6, 6, 6, 6])
    assert sum(pauses(gathering, [], shared=False) for _ in range(1000)) < 30
