"""What `crossfade history` says of a moment, and what the log says of an undone lane."""

from crossfade.cli.actions.past import past_text
from crossfade.cli.render.tables import events_table
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples


def test_a_segment_whose_lane_was_taken_away_is_said_to_be_served_by_the_default_one() -> None:
    past = resources.Model(name="models/churn")
    past.lanes.add(stable_version="v2")
    gone = past.lanes.add(segment="eu")
    gone.versions.add(version="v1", state=resources.VERSION_STATE_DEPRECATED, state_time=samples.at(0))
    said = past_text("churn", "as of revision 7", past).plain
    assert said.splitlines() == [
        "churn as of revision 7",
        " stable: v2",
        " stable (eu): no lane of its own; its calls go to the default one",
    ]


def test_an_undone_lanes_event_says_what_became_of_the_version_before() -> None:
    undone = resources.Event(model="churn", version="v1", type="LANE_UNDONE", reason="Bad.", time=samples.at(0))
    assert events_table([undone]).plain.endswith("Bad.")
    undone.outcome.reason = "v2 is FAILED: Bad."
    assert events_table([undone]).plain.endswith("v2 is FAILED: Bad.")
