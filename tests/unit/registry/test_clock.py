"""The database's time, kept by the machine's monotonic clock."""

from registry.database.clock import DatabaseClock
from tests.fakes.clock import ManualClock


class Database:
    """Tells the time late, as a database does."""

    def __init__(self, machine: ManualClock, ahead: float) -> None:
        self._machine = machine
        self._start = machine.monotonic() - ahead
        self.journeys: list[tuple[float, float]] = []

    def now(self) -> float:
        return self._machine.monotonic() - self._start

    def read(self) -> float:
        there, back = self.journeys.pop() if self.journeys else (0.0, 0.0)
        self._machine.advance(there)
        said = self.now()
        self._machine.advance(back)
        return said


def test_until_the_first_look_it_is_the_machines_own() -> None:
    machine = ManualClock()
    clock = DatabaseClock(Database(machine, 500.0).read, machine)
    machine.advance(3)
    assert clock.now() == machine.now()
    assert clock.ahead == 0.0


def test_then_it_is_the_databases_whatever_becomes_of_the_machines() -> None:
    machine = ManualClock()
    database = Database(machine, 500.0)
    clock = DatabaseClock(database.read, machine)
    clock.set()
    assert clock.now() == database.now()
    machine.advance(60)
    machine.set(-86_400)
    assert clock.now() == database.now()
    assert clock.ahead == machine.now() - database.now()
    assert clock.monotonic() == machine.monotonic()


def test_of_several_answers_the_quickest_counts() -> None:
    machine = ManualClock()
    database = Database(machine, 500.0)
    database.journeys = [(0.9, 0.1), (0.01, 0.03), (0.0, 2.0)]
    clock = DatabaseClock(database.read, machine)
    clock.set()
    # Half of a journey is taken for the way there: here it was 10 ms of 40.
    assert abs(clock.now() - database.now()) < 0.0101
