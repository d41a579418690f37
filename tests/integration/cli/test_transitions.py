"""What a person does to a rollout by the command, from a pause to an undo."""

from pathlib import Path

import pytest

from crossfade.cli.actions import transitions
from crossfade.cli.actions.transitions import Target, pause_rollout
from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry, request_id
from crossfade.registry.v1.resources_pb2 import Rollout
from crossfade.registry.v1.service_pb2 import PauseRolloutRequest
from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import Stack


def test_a_person_pauses_resumes_advances_and_promotes(crossfade: Command, running: str) -> None:
    said = crossfade("pause", running, "--reason", "lunch").stdout
    assert said == f"rollout 1 paused at 5 %; crossfade resume {running} lets it go on\n"
    assert f"paused by a person: lunch; crossfade resume {running} lets it go on" in crossfade("status", running).stdout
    assert crossfade("resume", running).stdout == "rollout 1 goes on at 5 %\n"
    assert crossfade("advance", running).stdout == "rollout 1: v2 gets 50 % (step 2 of 2)\n"
    refused = crossfade("advance", running, code=1)
    assert refused.stderr.startswith("error: ")
    said = crossfade("promote", running, "--reason", "it is good").stdout
    assert said == "v2 promoted: it is STABLE and gets every request; v1 is DEPRECATED\n"
    assert "it is good" in crossfade("rollouts", running).stdout
    nothing = crossfade("promote", running, code=1).stderr
    assert nothing.startswith(f"error: no rollout of {running} lives")
    assert nothing.endswith(f"; crossfade undo {running} goes back from v2 to v1\n")
    ended = crossfade("rollback", running, "--rollout", "1", code=1)
    assert ended.stderr.startswith("error: ")
    assert crossfade("status", running, "--exit-code").exit_code == 0


def test_a_rollback_is_explained_and_has_its_exit_code(crossfade: Command, running: str) -> None:
    said = crossfade("rollback", running, "--reason", "wrong labels").stdout
    assert said == "v2 rolled back: it is FAILED; every request goes to v1\n"
    crossfade("status", running, "--exit-code", code=11)
    lines = crossfade("explain", running).stdout.splitlines()
    assert lines[0].startswith("Rollout 1: v2 was ROLLED BACK ")
    assert lines[0].endswith(" after its start, by ana.")
    assert lines[1:] == ["  Reason: wrong labels.", f"  Next: crossfade versions show {running} v2"]


def test_a_version_that_no_worker_has_is_rolled_back_as_well(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "unheld", str(artifact))
    stack.report("unheld", "v1")
    crossfade("publish", "unheld", str(artifact))
    assert crossfade("rollback", "unheld").stdout == "v2 rolled back: it is FAILED; every request goes to v1\n"


def test_an_aborted_version_can_be_started_again(crossfade: Command, running: str) -> None:
    said = crossfade("abort", running).stdout
    assert said == "rollout 1 cancelled: v2 is PENDING again; every request goes to v1\n"
    said = crossfade("start", running, "v2", "--share", "20%").stdout
    assert "rollout 2" in said
    crossfade("start", running, "v1", code=1)


def test_another_try_of_a_version_is_counted(
    crossfade: Command, crossfade_json: Json, stack: Stack, running: str
) -> None:
    assert crossfade_json("explain", running)["earlier_tries"] == []
    stack.look(f"models/{running}/rollouts/1")
    crossfade("abort", running)
    started = crossfade("start", running, "v2")
    sentence = "It is try 2 of v2 (1 rollout before: 1)."
    assert sentence in started.stderr
    # One that nobody looked at is no try.
    crossfade("abort", running)
    assert sentence in crossfade("start", running, "v2").stderr
    assert sentence in crossfade("explain", running).stdout
    assert crossfade_json("explain", running)["earlier_tries"] == [f"models/{running}/rollouts/1"]


def test_one_that_waits_is_aborted_and_the_live_one_goes_on(crossfade: Command, running: str, artifact: Path) -> None:
    crossfade("publish", running, str(artifact))
    said = crossfade("abort", running, "--rollout", "2").stdout
    assert said == "rollout 2 cancelled before it began: v3 is PENDING\n"
    assert "rollout 1 · 5 %" in crossfade("status", running).stdout


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("abort", "rollout 1 cancelled: v2 is PENDING again; rollout 2 (v3) starts now\n"),
        ("rollback", "v2 rolled back: it is FAILED; rollout 2 (v3) starts now\n"),
        ("promote", "v2 promoted: it is STABLE; v1 is DEPRECATED; rollout 2 (v3) starts now\n"),
    ],
)
def test_one_that_waited_starts_when_the_live_one_ends(
    crossfade: Command, stack: Stack, artifact: Path, action: str, said: str
) -> None:
    model = f"followed-{action}"
    crossfade("publish", model, str(artifact))
    stack.report(model, "v1")
    crossfade("publish", model, str(artifact))
    stack.report(model, "v1", "v2")
    crossfade("publish", model, str(artifact))
    assert crossfade(action, model).stdout == said


def test_a_rollout_of_copies_is_not_said_to_promote(crossfade: Command, running: str) -> None:
    crossfade("abort", running)
    said = crossfade("start", running, "v2", "--plan", "shadow 30%:5m").stdout
    assert "Nobody gets its answers, so that it ends without a promotion. " in said
    assert said.endswith(f"When it has passed: crossfade start {running} v2\n")
    assert "promoted or rolled back" not in said


def test_a_promotion_is_undone(crossfade: Command, stack: Stack, running: str) -> None:
    crossfade("promote", running)
    stack.report(running, "v1", "v2")
    said = crossfade("undo", running, "--reason", "callers complain")
    assert said.stdout == "v1 is STABLE again and gets every request; v2 is DEPRECATED\n"
    assert not said.stderr
    assert "callers complain" in crossfade("events", running).stdout
    assert crossfade("status", running).stdout.splitlines()[-1].endswith(": callers complain")
    said = crossfade("undo", running, "--to", "v2", "--bad")
    assert said.stdout == "v2 is STABLE again and gets every request; v1 is FAILED\n"
    assert said.stderr == "no reason was given: --reason TEXT says one, which status and events then show\n"
    nothing = crossfade("undo", running, code=1).stderr
    assert "no version to go back to" in nothing
    assert f"crossfade versions {running}" in nothing
    assert crossfade("status", running).stdout.splitlines()[-1].endswith(" ago by ana: v1 is FAILED")


def test_a_version_is_tried_by_pinned_calls_alone(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "tried", str(artifact))
    crossfade("publish", "tried", str(artifact), "--without-rollout")
    stack.report("tried", "v1", "v2")
    said = crossfade("try", "tried", "v2", "--ttl", "30m", "--wait")
    assert said.stdout == (
        "v2 is loaded for 30 min and gets no traffic; a pinned call reaches it:\n"
        "crossfade predict tried -i ROWS --version v2\n"
    )
    assert said.stderr.startswith("v2 is ready at ")
    assert crossfade("try", "tried", "v2", "--off").stdout == "v2 is let go\n"
    not_held = "v2 was not held by `crossfade try`; nothing has changed\n"
    assert crossfade("try", "tried", "v2", "--off").stdout == not_held
    assert "--ttl" in crossfade("try", "tried", "v2", "--ttl", "soon", code=2).stderr
    crossfade("segment", "set", "tried", "gold", "--force")
    said = crossfade("try", "tried", "v1", "--segment", "gold")
    assert said.stdout.endswith("\ncrossfade predict tried -i ROWS --version v1 --segment gold\n")


def test_a_version_is_withdrawn(crossfade: Command, artifact: Path) -> None:
    crossfade("publish", "taken-back", str(artifact))
    crossfade("publish", "taken-back", str(artifact), "--without-rollout")
    assert crossfade("withdraw", "taken-back", "v2").stdout == "v2 is WITHDRAWN: it never gets requests here\n"
    assert "WITHDRAWN" in crossfade("versions", "taken-back").stdout
    assert "v1 is STABLE" in crossfade("withdraw", "taken-back", "v1", code=1).stderr


def test_a_promotion_that_waits_for_a_person(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "agreed", str(artifact))
    said = crossfade("publish", "agreed", str(artifact), "--approval").stdout
    assert said.endswith("It is rolled back by itself, and promoted once you agree: crossfade approve agreed\n")
    stack.report("agreed", "v1", "v2")
    assert "crossfade approve agreed" in crossfade("promote", "agreed", code=1).stderr
    said = crossfade("approve", "agreed", "--reason", "looked at").stdout
    assert said == "rollout 1 approved: v2 is promoted when it has passed\n"
    assert "approved by ana already" in crossfade("approve", "agreed", code=1).stderr.replace("local:", "")
    assert crossfade("promote", "agreed").stdout.startswith("v2 promoted")


def test_a_stale_etag_tells_what_changed(crossfade: Command, stack: Stack, running: str) -> None:
    session = Session(Options(registry=stack.registry))

    def pause_twice(registry: Registry, rollout: Rollout) -> Rollout:
        pause_rollout(session, Target(running, "", None, "somebody else"))
        request = PauseRolloutRequest(name=rollout.name, etag=rollout.etag, reason="mine", request_id=request_id())
        return registry.pause(request)

    with pytest.raises(CommandError, match=r"it was RUNNING at 5 % .*, it is PAUSED at 5 % \(somebody else\)"):
        transitions._transition(session, Target(running, "", None, ""), pause_twice, lambda rollout, _: str(rollout))
    session.close()
