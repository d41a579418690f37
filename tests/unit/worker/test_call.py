"""Whose time it was that went by."""

from typing import Any

from services.worker.front_end.call import Call


def call(**options: Any) -> Call:
    nothing: Any = None
    return Call(nothing, nothing, None, nothing, **options)


def test_time_belongs_to_who_took_most_of_it() -> None:
    assert not call().is_readers(10.0, 20.0)
    assert not call(written_seconds=4.0).is_readers(10.0, 20.0)
    assert call(written_seconds=6.0).is_readers(10.0, 20.0)
    assert call(written_seconds=1.0, write_began=15.5).is_readers(10.0, 20.1)
    assert call(write_began=12.0).is_readers(10.0, 20.0)
