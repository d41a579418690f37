"""Which changes of the routes are remembered."""

from registry.remembered_changes import MOST, MOST_OCTETS, Batch, RememberedChanges
from registry.repositories import Position


def batch(number: int, octets: int = 1) -> Batch:
    """The changes of a revision, which take so much."""
    half = octets // 2
    return Batch(Position(number, f"m{number}"), snapshot=False, lanes=(bytes(half), bytes(octets - half)))


def remembered(octets: list[int]) -> RememberedChanges:
    """Of revisions whose changes take so much each, from the first one on."""
    made = RememberedChanges()
    made.add(batch(number, size) for number, size in enumerate(octets, 1))
    return made


def kept(changes: RememberedChanges) -> list[int]:
    """Which revisions' changes are there."""
    known, found = changes.after(changes.begin)
    assert known == changes.begin
    assert not changes.has(Position(changes.begin.revision - 1))
    return [one.position.revision for one in found]


def test_so_many_at_most() -> None:
    changes = remembered([1] * (MOST + 3))
    assert kept(changes) == list(range(4, MOST + 4))
    assert (changes.begin, changes.end) == (Position(3, "m3"), Position(MOST + 3, f"m{MOST + 3}"))


def test_so_many_octets_at_most() -> None:
    """2,000 changes of routes with large signatures were 260 MB, and where each is of many lanes, gigabytes."""
    quarter = MOST_OCTETS // 4
    assert kept(remembered([quarter] * 9)) == [6, 7, 8, 9]
    assert kept(remembered([quarter, 3 * quarter, quarter, 1, 1])) == [3, 4, 5]
    assert kept(remembered([1, 1, MOST_OCTETS + 1])) == [3]
    assert kept(remembered([MOST_OCTETS + 1, 1, 1])) == [2, 3]


def test_what_comes_after_a_position_that_is_remembered() -> None:
    changes = remembered([1] * 5)
    known, found = changes.after(Position(3, "another"))
    assert (known, [one.position.revision for one in found]) == (Position(3, "m3"), [4, 5])
    assert changes.after(changes.end) == (changes.end, [])
    assert not changes.has(Position(6))
    changes.begin_at(Position(9, "m9"))
    assert changes.after(Position(9)) == (Position(9, "m9"), [])
