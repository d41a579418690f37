"""Which requests a front-end runs itself: those that come one at a time."""

from services.worker.front_end.solitude import Solitude, Way


def ways(solitude: Solitude, number: int, *, alone: bool = True, single: bool = True) -> list[Way]:
    return [solitude.way(alone=alone, single=single) for _ in range(number)]


def test_of_rows_that_come_alone_every_eighth_waits_for_others() -> None:
    assert ways(Solitude(), 24) == ([Way.HERE] * 7 + [Way.WAIT]) * 3


def test_in_company_all_go_to_the_engine_and_for_a_while_afterwards() -> None:
    solitude = Solitude()
    assert ways(solitude, 1, alone=False) == [Way.ENGINE]
    assert ways(solitude, 32) == [Way.ENGINE] * 32
    assert ways(solitude, 1) == [Way.HERE]


def test_company_now_and_then_keeps_the_engine() -> None:
    solitude = Solitude()
    for _ in range(10):
        assert ways(solitude, 1, alone=False) == [Way.ENGINE]
        assert ways(solitude, 31) == [Way.ENGINE] * 31


def test_requests_of_many_rows_are_the_engines() -> None:
    solitude = Solitude()
    assert ways(solitude, 100, single=False) == [Way.ENGINE] * 100
    assert ways(solitude, 1) == [Way.HERE]
