"""A segment's lane by the command."""

import json
from pathlib import Path

from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import Stack


def test_a_segment_has_a_lane_of_its_own(
    crossfade: Command, crossfade_json: Json, stack: Stack, artifact: Path
) -> None:
    crossfade("publish", "parted", str(artifact))
    stack.report("parted", "v1")
    said = crossfade("segment", "set", "parted", "eu").stdout
    assert said == "segment eu of parted has its own lane: v1 is stable\n"
    in_it = crossfade("publish", "parted", str(artifact), "--segment", "eu")
    assert "had no lane" not in in_it.stderr
    stack.report("parted", "v1", "v2")
    said = crossfade("promote", "parted", "--segment", "eu").stdout
    assert said == "v2 promoted: it is STABLE and gets every request of the lane of segment eu; v1 is DEPRECATED\n"
    stack.report("parted", "v1", "v2")
    crossfade("publish", "parted", str(artifact), "--segment", "eu")
    said = crossfade("undo", "parted", "--segment", "eu", "--cancel-rollout").stdout
    assert said == "v1 is STABLE again and gets every request of the lane of segment eu; v2 is DEPRECATED\n"
    crossfade("undo", "parted", "--segment", "eu", "--to", "v2")
    assert crossfade("rollouts", "parted", "--segment", "").stdout == (
        "parted has had no such rollout: crossfade rollouts parted lists all\n"
    )
    crossfade("publish", "parted", str(artifact))
    stack.report("parted", "v1", "v2", "v4")
    said = crossfade("abort", "parted").stdout
    assert said == "rollout 3 cancelled: v4 is PENDING again; every request of the default lane goes to v1\n"
    (model,) = [one for one in crossfade_json("models")["models"] if one["name"] == "models/parted"]
    assert {lane["segment"]: lane["stable_version"] for lane in model["lanes"]} == {"": "v1", "eu": "v2"}
    assert crossfade("versions", "parted", "--segment", "eu", "--state", "stable").stdout.count("\nv") == 1
    said = crossfade("segment", "delete", "parted", "eu").stdout
    assert said == "the lane of segment eu is gone: its requests go to parted's default lane\n"
    changes = crossfade_json("history", "parted")["events"]
    assert [one["type"] for one in changes if one.get("segment") == "eu"] == [
        "SEGMENT_SET",
        "ROLLOUT_PROMOTED",
        "LANE_UNDONE",
        "LANE_UNDONE",
        "SEGMENT_DELETED",
    ]
    gone = crossfade("segment", "delete", "parted", "eu", code=1).stderr
    assert gone == "error: parted has no lane for the segment 'eu'; it has the default lane\n"


def test_a_segment_that_gets_a_lane_by_a_publication_is_named_beside_the_others(
    crossfade: Command, artifact: Path
) -> None:
    crossfade("publish", "misspelt", str(artifact))
    made = crossfade("publish", "misspelt", str(artifact), "--segment", "eu").stderr
    assert made.splitlines()[0] == (
        "segment eu had no lane, so misspelt has a new one now, beside the default lane. "
        "If the segment is misspelt: crossfade segment delete misspelt eu --cancel-rollout"
    )
    rest = ("--without-rollout", "--json")
    made = crossfade("publish", "misspelt", str(artifact), "--segment", "ue", *rest).stderr
    assert json.loads(made)["note"].startswith(
        "segment ue had no lane, so misspelt has a new one now, beside the default lane and the lane of segment eu. "
    )
    said = crossfade("withdraw", "misspelt", "v3", code=1).stderr
    assert said == ("error: version v3 is not in the default lane; `crossfade versions misspelt` shows where each is\n")
    back = crossfade("segment", "delete", "misspelt", "ue")
    assert back.stdout == "the lane of segment ue is gone: its requests go to misspelt's default lane\n"
    assert crossfade("publish", "misspelt-too", str(artifact), "--segment", "eu").stderr.startswith(
        "segment eu had no lane, so misspelt-too has a new one now"
    )


def test_what_is_to_be_written_next_stays_in_its_segment(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "tumour", str(artifact))
    stack.report("tumour", "v1")
    crossfade("segment", "set", "tumour", "eu")
    said = crossfade("publish", "tumour", str(artifact), "--segment", "eu", "--without-rollout").stdout
    assert said.endswith("Start its rollout: crossfade start tumour v2 --segment eu\n")
    crossfade("start", "tumour", "v2", "--segment", "eu")
    stack.report("tumour", "v1", "v2")
    said = crossfade("pause", "tumour", "--rollout", "1").stdout
    assert said == "rollout 1 paused at 5 %; crossfade resume tumour --segment eu lets it go on\n"
    said = crossfade("abort", "tumour", code=1).stderr
    assert said == "error: no rollout of tumour lives; one lives in another lane of it: --segment eu\n"
    crossfade("abort", "tumour", "--segment", "eu")
    said = crossfade("explain", "tumour", "--segment", "eu").stdout
    assert said.endswith("try again: crossfade start tumour v2 --segment eu\n")
    said = crossfade("abort", "tumour", "--segment", "eu", code=1).stderr
    assert "crossfade start tumour VERSION --segment eu starts one" in said
    said = crossfade("monitor", "tumour", "--segment", "eu", "--off").stdout
    assert said == "tumour eu is not watched any more: crossfade monitor tumour --on --segment eu watches it again\n"


def test_a_version_is_tried_and_withdrawn_in_a_segment(
    crossfade: Command, crossfade_json: Json, stack: Stack, artifact: Path
) -> None:
    crossfade("publish", "tried-there", str(artifact))
    stack.report("tried-there", "v1")
    crossfade("segment", "set", "tried-there", "eu")
    crossfade("publish", "tried-there", str(artifact), "--segment", "eu", "--without-rollout")
    said = crossfade("try", "tried-there", "v2", "--segment", "eu").stdout
    assert said.endswith("crossfade predict tried-there -i ROWS --version v2 --segment eu\n")
    (model,) = [one for one in crossfade_json("models")["models"] if one["name"] == "models/tried-there"]
    loaded = {lane["segment"]: [one["version"] for one in lane.get("loaded", [])] for lane in model["lanes"]}
    assert loaded == {"": [], "eu": ["v2"]}
    assert crossfade("try", "tried-there", "v2", "--segment", "eu", "--off").stdout == "v2 is let go\n"
    said = crossfade("withdraw", "tried-there", "v2", "--segment", "eu").stdout
    assert said == "v2 is WITHDRAWN: it never gets requests here\n"
    (withdrawn,) = crossfade_json("versions", "tried-there", "--segment", "eu", "--state", "withdrawn")["versions"]
    assert withdrawn["name"] == "models/tried-there/versions/v2"


def test_a_segment_whose_callers_would_be_served_by_nothing_is_deleted_by_force(
    crossfade: Command, artifact: Path
) -> None:
    crossfade("publish", "only", str(artifact), "--without-rollout")
    crossfade("segment", "set", "only", "eu", "--version", "v1", "--force")
    said = crossfade("segment", "delete", "only", "eu", code=1).stderr
    assert "the default lane of only has no stable version, and the callers in segment eu would be served" in said
    said = crossfade("segment", "delete", "only", "eu", "--force").stdout
    assert said == "the lane of segment eu is gone: its requests go to only's default lane\n"
