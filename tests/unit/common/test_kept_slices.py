"""Which slices keep their labels' series."""

from services.common.kept_slices import MOST_SLICES, ROOM, KeptSlices, Slice
from services.common.telemetry.catalog import KEPT_SLICES

NOW = 1_700_000_000.0
SECONDS = 5.0


class Lane:
    """A lane's slices, each of which takes the same room."""

    def __init__(self, room: int) -> None:
        self.kept = KeptSlices()
        self.now = NOW
        self._room = room
        self._known: set[Slice] = set()

    def label(self, number: int, epoch: int = 1) -> bool:
        """A label of so many slices from now."""
        one = (epoch, int(NOW / SECONDS) + number)
        if one in self.kept:
            return True
        gone = self.kept.add(
            one, NOW + number * SECONDS, self.now, lambda: dict.fromkeys(self._known | {one}, self._room)
        )
        self._known = (self._known | {one}).difference(gone)
        return one in self.kept

    @property
    def slices(self) -> int:
        return len(self._known)


def test_as_many_are_kept_as_there_is_room_for() -> None:
    lane = Lane(room=ROOM // 64)
    for number in range(-200, 1):
        assert lane.label(number)
    assert lane.slices == 64
    assert lane.label(-63)
    # What was dropped may not come back: its counts would begin again at nothing.
    assert not lane.label(-64)
    assert not lane.label(-300)


def test_the_newest_sixteen_are_kept_whatever_their_room() -> None:
    lane = Lane(room=2 * ROOM)
    for number in range(-40, 1):
        assert lane.label(number)
    assert lane.slices == KEPT_SLICES


def test_no_more_than_readers_remember() -> None:
    lane = Lane(room=0)
    for number in range(-MOST_SLICES - 10, 1):
        lane.label(number)
    assert lane.slices == MOST_SLICES


def test_an_older_slice_than_all_is_taken_as_long_as_there_is_room() -> None:
    lane = Lane(room=ROOM // 20)
    for number in range(-19, 1):
        lane.label(number)
    assert not lane.label(-20)
    assert lane.slices == 20
    assert lane.label(-19)


def test_slices_of_a_clock_that_is_ahead_leave_present_ones_in_place() -> None:
    lane, ahead = Lane(room=ROOM // 64), 240
    for number in range(600):
        # A Worker's clock is 20 min ahead, and a label comes at once or five minutes late.
        assert lane.label(number + ahead)
        assert lane.label(number)
        assert number < 60 or lane.label(number - 60)
        lane.now += SECONDS


def test_where_this_processs_clock_is_behind_labels_count_as_ever() -> None:
    lane = Lane(room=ROOM // 64)
    lane.now = NOW - 86_400
    for number in range(200):
        assert lane.label(number)
        assert number < 60 or lane.label(number - 60)
        lane.now += SECONDS
