"""When the Registry was last heard."""

from services.common.contact import LOST_SECONDS, Contact
from tests.fakes.clock import ManualClock


def test_it_is_heard_until_it_is_silent_for_long() -> None:
    clock = ManualClock()
    contact = Contact(clock)
    assert not contact.heard
    clock.advance(5.0)
    assert contact.age == 5.0
    contact.touch()
    assert (contact.heard, contact.age) == (True, 0.0)
    clock.advance(LOST_SECONDS - 1.0)
    assert contact.heard
    clock.advance(1.0)
    assert not contact.heard
    contact.touch()
    assert contact.heard
