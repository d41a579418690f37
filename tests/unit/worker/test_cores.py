"""Each version gets processors that the fewest others have, and each of its front-ends one of those."""

from services.worker.supervisor.cores import pins, share

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


def test_each_front_end_has_a_processor_of_its_own() -> None:
    assert pins([], {5, 4}, 2, wanted=None) == (4, 5)


def test_front_ends_beyond_the_processors_go_round() -> None:
    assert pins([], {4, 5}, 3, wanted=None) == (4, 5, 4)


def test_front_ends_move_where_there_are_more_processors_or_none_besides() -> None:
    assert pins([], {4, 5}, 1, wanted=None) == ()
    assert pins([], CORES, 4, wanted=None) == ()
    assert pins([], {4}, 2, wanted=None) == ()


def test_the_setting_goes_before() -> None:
    assert pins([], {4, 5}, 2, wanted=False) == ()
    assert pins([(4, 5)], CORES, 2, wanted=True) == (6, 7)
