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
        self._known.difference_update(gone)
        if one in self.kept:
            self._known.add(one)
        return one in self.kept

    def fall(self, epoch: int) -> None:
        """The lane's epoch falls."""
        self._known.difference_update(self.kept.fall(epoch, self.now))

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


def test_where_the_epoch_falls_labels_count_as_ever_but_for_those_of_epochs_that_never_were() -> None:
    lane = Lane(room=ROOM // 64)
    assert lane.label(-100, epoch=12)
    for number in range(-60, 1):
        assert lane.label(number, epoch=20)
    lane.fall(12)
    assert lane.slices == 1
    for number in range(1, 600):
        lane.now += SECONDS
        assert lane.label(number, epoch=12)
        # What had been predicted before is labelled now; it would be the newest for ever.
        assert not lane.label(number - 600, epoch=20)
        assert number < 60 or lane.label(number - 59, epoch=12)
    assert lane.slices == 64
    # The same epoch comes again, and is another one.
    assert lane.label(600, epoch=20)


def test_what_was_dropped_before_the_epoch_fell_does_not_come_back() -> None:
    for before in (12, 20):
        lane = Lane(room=ROOM // 20)
        for number in range(-100, -50):
            lane.label(number, epoch=12)
        for number in range(-50, 1):
            lane.label(number, epoch=before)
        lane.fall(11 if before == 12 else 12)
        assert not lane.label(-90, epoch=12)


DAY = int(86_400 / SECONDS)


def test_after_this_clock_was_ahead_present_slices_are_kept_again() -> None:
    lane = Lane(room=ROOM // 64)
    for number in range(-100, 0):
        assert lane.label(number)
    # This process and the Workers are a day ahead for a while, for longer than there is room.
    lane.now = NOW + DAY * SECONDS
    for number in range(100):
        assert lane.label(DAY + number)
        lane.now += SECONDS
    lane.now = NOW
    for number in range(100):
        assert lane.label(number)
        lane.now += SECONDS
    # What was dropped before does not come back.
    assert not lane.label(-80)
    assert lane.slices <= 2 * 64


def test_what_was_dropped_does_not_come_back_after_this_clock_was_behind() -> None:
    lane = Lane(room=ROOM // 64)
    for number in range(-100, 0):
        assert lane.label(number)
    lane.now = NOW - 2 * DAY * SECONDS
    for number in range(10):
        assert lane.label(number)
    lane.now = NOW + 10 * SECONDS
    for number in range(10, 20):
        assert lane.label(number)
    assert not lane.label(-80)
