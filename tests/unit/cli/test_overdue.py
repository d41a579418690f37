"""A rollout that nobody looks at says so."""

import pytest
from google.protobuf.duration_pb2 import Duration

from crossfade.cli.render.overdue import overdue
from crossfade.common.v1 import analysis_pb2, policy_pb2
from tests.unit.cli.samples import NOW, at, rollout


def looked(seconds_ago: int) -> analysis_pb2.Analysis:
    return analysis_pb2.Analysis(sequence=4, record_time=at(seconds_ago))


@pytest.mark.parametrize(
    ("interval", "seconds_ago", "late"), [(2, 9, False), (2, 46, True), (30, 89, False), (30, 91, True), (0, 91, True)]
)
def test_looks_that_do_not_come_are_missed(interval: int, seconds_ago: int, late: bool) -> None:
    live = rollout()
    if interval:
        live.policy.CopyFrom(policy_pb2.Policy(look_interval=Duration(seconds=interval)))
    said = overdue(live, looked(seconds_ago), NOW)
    assert bool(said) is late
    if late:
        assert said.startswith(f"no look for {'46 s' if seconds_ago == 46 else '1 min 31 s'}, though one is due every ")
        assert "crossfade instances" in said


def test_a_first_look_that_does_not_come_is_missed_too() -> None:
    # It began 252 s ago.
    live = rollout()
    assert overdue(live, None, NOW).startswith("no look in 4 min 12 s, though one is due every 30 s")
    # Before it begins it may have been queued for any time.
    live.ClearField("start_time")
    assert overdue(live, None, NOW) == ""
