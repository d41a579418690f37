"""Each version gets processors that the fewest others have."""

from services.worker.supervisor.cores import share

CORES = range(4, 8)


def test_versions_have_processors_of_their_own_while_there_are_enough() -> None:
    taken: list[frozenset[int]] = []
    for _ in range(2):
        taken.append(share(taken, CORES, 2))
    assert taken == [{4, 5}, {6, 7}]


def test_one_more_goes_where_the_fewest_are() -> None:
    assert share([{4, 5}, {6}, {7}, {7}], CORES, 2) == {4, 5}
    assert share([{4, 5}, {4, 6}, {5, 7}], CORES, 2) == {6, 7}


def test_nobody_has_more_than_there_are() -> None:
    assert share([], CORES, 9) == set(CORES)


def test_all_run_on_all_unless_it_is_asked_for() -> None:
    assert share([{4}], CORES, 0) == set(CORES)
