"""Changes whose answer is lost: made once, and told to whoever says the same again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.cli.repeating import ATTEMPTS
from tests.integration.cli.conftest import Command
from tests.integration.cli.lossy import Lossy, lossy
from tests.integration.cli.stack import Stack


@pytest.fixture
def way(stack: Stack) -> Iterator[Lossy]:
    """To the Registry."""
    with lossy(stack.registry) as running:
        yield running


def kinds(stack: Stack, model: str) -> list[str]:
    """The types of a model's events, oldest first."""
    _, events = stack.ledger(model)
    return [event.type for event in events][::-1]


def test_a_lost_answer_is_asked_for_again(crossfade: Command, stack: Stack, way: Lossy, artifact: Path) -> None:
    crossfade("publish", "lost", str(artifact))
    way.lost = 1
    said = crossfade("publish", "lost", str(artifact), "--registry", way.address).stdout
    assert said.startswith("v2 published;")
    assert way.lost == 0
    assert kinds(stack, "lost").count("VERSION_PUBLISHED") == 2


def test_not_every_attempt_is_for_the_replica_that_gives_no_answer(
    crossfade: Command, stack: Stack, way: Lossy, artifact: Path
) -> None:
    crossfade("publish", "replicas", str(artifact))
    way.lost = ATTEMPTS
    crossfade("describe", "replicas", "one", "--registry", f"ipv4:{way.address},{stack.registry}")
    assert way.lost
    assert kinds(stack, "replicas").count("MODEL_UPDATED") == 1


def test_every_change_can_be_said_again(crossfade: Command, stack: Stack, way: Lossy, artifact: Path) -> None:
    """Each is carried out, no answer comes, and the same command with what was said gives the answer."""
    crossfade("publish", "again", str(artifact))
    stack.report("again", "v1")

    def change(*command: str, event: str) -> str:
        before = kinds(stack, "again")
        way.lost = ATTEMPTS
        said = crossfade(*command, "--registry", way.address, code=3).stderr
        assert way.lost == 0
        found = re.search(r"the same command with (.*) makes it if it was not", said)
        assert found is not None, said
        done = kinds(stack, "again")
        assert event in done[len(before) :]
        # Something else happens before it is said again.
        crossfade("describe", "again", f"After {command}.")
        done.append("MODEL_UPDATED")
        answer = crossfade(*command, *found[1].split()).stdout
        assert kinds(stack, "again") == done
        return answer

    plan = ("--plan", "5%,50%", "--approval")
    assert change("publish", "again", str(artifact), *plan, event="VERSION_PUBLISHED").startswith("v2 published; ")
    stack.report("again", "v1", "v2")
    assert change("pause", "again", event="ROLLOUT_PAUSED").startswith("rollout 1 paused at 5 %")
    assert change("resume", "again", event="ROLLOUT_RESUMED") == "rollout 1 goes on at 5 %\n"
    assert change("advance", "again", event="ROLLOUT_ADVANCED").endswith("(step 2 of 2)\n")
    assert change("approve", "again", event="ROLLOUT_APPROVED").startswith("rollout 1 approved")
    assert change("promote", "again", event="ROLLOUT_PROMOTED").startswith("v2 promoted: it is STABLE")
    stack.report("again", "v1", "v2")
    said = change("undo", "again", event="LANE_UNDONE")
    assert said == "v1 is STABLE again and gets every request; v2 is DEPRECATED\n"
    crossfade("publish", "again", str(artifact), "--without-rollout")
    assert "rollout 2" in change("start", "again", "v3", event="ROLLOUT_STARTED")
    assert change("abort", "again", event="ROLLOUT_CANCELLED").startswith("rollout 2 cancelled")
    assert change("try", "again", "v3", event="VERSION_LOADED").startswith("v3 is loaded")
    assert "WITHDRAWN" in change("withdraw", "again", "v3", event="VERSION_WITHDRAWN")
    assert "has its own lane" in change("segment", "set", "again", "eu", event="SEGMENT_SET")
    assert "is gone" in change("segment", "delete", "again", "eu", event="SEGMENT_DELETED")
    assert "is not watched" in change("monitor", "again", "--off", event="MONITOR_CHANGED")
    crossfade("publish", "again", str(artifact))
    stack.report("again", "v1", "v4")
    assert change("rollback", "again", event="ROLLOUT_ROLLED_BACK").startswith("v4 rolled back")


def test_the_id_of_another_change_is_refused(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "taken", str(artifact))
    request_id = ("--request-id", "0f5a6d1e-0000-4000-8000-000000000004")
    crossfade("describe", "taken", "one", *request_id)
    crossfade("describe", "taken", "one", *request_id)
    assert kinds(stack, "taken").count("MODEL_UPDATED") == 1
    assert "--request-id" in crossfade("describe", "taken", "two", *request_id, code=1).stderr
    assert "is no UUID" in crossfade("describe", "taken", "two", "--request-id", "x", code=2).stderr
