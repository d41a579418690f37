"""Times as messages keep them: to the microsecond."""

from hypothesis import given
from hypothesis import strategies as st

from services.common import times
from services.common.clock import recordable


@given(st.floats(0.0, 4e9))
def test_a_time_that_can_be_recorded_comes_back_as_it_was(seconds: float) -> None:
    time = recordable(seconds)
    assert abs(time - seconds) <= 1e-6
    assert times.unix_seconds(times.timestamp(round(time * 1e6))) == time == recordable(time)
