"""A model's life by the command: publish, look, decide; errors and exit codes."""

import asyncio
import json
import re
import shutil
import socket
import threading
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from benchmarks.dsn import dsn
from crossfade.cli.actions import transitions
from crossfade.cli.actions.transitions import Target, pause_rollout
from crossfade.cli.context import Options, Session
from crossfade.cli.errors import CommandError
from crossfade.cli.registry_client import Registry, request_id
from crossfade.ledger import event_hash
from crossfade.registry.v1 import resources_pb2
from crossfade.registry.v1.resources_pb2 import Rollout
from crossfade.registry.v1.service_pb2 import PauseRolloutRequest
from crossfade.signing import verify_artifact
from tests.integration.cli.conftest import Command
from tests.integration.cli.stack import TOKEN, Stack
from tests.support.wait import until

Json = Callable[..., Any]

ID = "0f5a6d1e-0000-4000-8000-000000000005"


@pytest.fixture
def running(crossfade: Command, stack: Stack, artifact: Path, request: pytest.FixtureRequest) -> str:
    """A model whose v2 is tested against v1."""
    model = str(request.node.name).replace("_", "-")[:60]
    crossfade("publish", model, str(artifact))
    stack.report(model, "v1")
    crossfade("publish", model, str(artifact), "--plan", "5%,50%", "--period", "10m")
    stack.report(model, "v1", "v2")
    return model


def test_the_first_version_is_stable_at_once(crossfade: Command, crossfade_json: Json, artifact: Path) -> None:
    said = crossfade("publish", "first", str(artifact), "--description", "the first").stdout
    assert said == (
        "v1 published; it is STABLE at once, as the first version of first.\n"
        "It answers as soon as a worker has it ready: crossfade status first\n"
    )
    assert "first   " in crossfade("models").stdout
    table = crossfade("versions", "first").stdout.splitlines()
    assert table[0].split() == ["version", "state", "published", "by", "size", "description"]
    assert table[1].startswith("v1       STABLE")
    assert table[1].endswith("the first")
    version = crossfade_json("versions", "show", "first", "v1")
    assert version["signature"]["classes"] == ["low", "middle", "high"]
    assert version["artifact"]["uri"] == artifact.resolve().as_uri()
    assert crossfade("explain", "first").stdout == (
        "first has had no rollout: v1 became stable at once, as the first version.\n"
    )
    assert "ana" in crossfade("events", "first").stdout


def test_a_later_version_gets_a_rollout_and_the_next_one_waits(
    crossfade: Command, stack: Stack, artifact: Path
) -> None:
    crossfade("publish", "later", str(artifact))
    stack.report("later", "v1")
    said = crossfade("publish", "later", str(artifact), "--share", "10%", "--period", "5m").stdout
    assert said.startswith("v2 published; rollout 1 gives it 10 % of the requests, as soon as a worker has it ready.\n")
    said = crossfade("publish", "later", str(artifact), "--version", "next").stdout
    assert said == "next published; it waits for rollout 1 (v2, 10 %) and starts by itself.\n"
    said = crossfade("publish", "later", str(artifact), "--without-rollout").stdout
    assert said == ("v4 published; it is PENDING and gets no requests.\nStart its rollout: crossfade start later v4\n")
    both = crossfade("publish", "later", str(artifact), "--without-rollout", "--share", "5%", code=1)
    assert both.stderr.startswith("error: ")


def test_status_of_a_live_rollout(crossfade: Command, crossfade_json: Json, running: str) -> None:
    lines = crossfade("status", running, "--exit-code", code=10).stdout.splitlines()
    assert lines[0].startswith(f"{running} · ")
    assert " req/s · changed " in lines[0]
    assert lines[1].startswith(" v1  STABLE   95.0 %  ███████████████████░  p50 1.0 ms  errors 0.00 %")
    assert lines[2].startswith(" v2  TESTING   5.0 %  █░░░░░░░░░░░░░░░░░░░")
    assert lines[3].startswith("     rollout 1 · 5 % · step 1 of 2 · RUNNING 0:0")
    assert lines[4] == "     waits for the evaluator's first look"
    assert "\x1b" not in "".join(lines)
    status = crossfade_json("status", running)
    assert status["lanes"][0]["requests_per_second"] > 0
    assert status["lanes"][0]["rollout"]["state"] == "ROLLOUT_STATE_RUNNING"
    assert crossfade("explain", running).stdout.splitlines()[1] == "  The evaluator has not looked at it yet."
    assert "v2 live READY" in crossfade("instances").stdout
    assert "runs in fp32 on cpu" in crossfade("versions", "show", running, "v2").stdout


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
    said = crossfade("undo", running, "--reason", "callers complain").stdout
    assert said == "v1 is STABLE again and gets every request; v2 is DEPRECATED\n"
    assert "callers complain" in crossfade("events", running).stdout
    assert crossfade("status", running).stdout.splitlines()[-1].endswith(": callers complain")
    said = crossfade("undo", running, "--to", "v2", "--bad").stdout
    assert said == "v2 is STABLE again and gets every request; v1 is FAILED\n"
    nothing = crossfade("undo", running, code=1).stderr
    assert "no version to go back to" in nothing
    assert f"crossfade versions {running}" in nothing
    assert crossfade("status", running).stdout.splitlines()[-1].endswith(" ago by ana: No reason was given.")


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
    assert "--ttl" in crossfade("try", "tried", "v2", "--ttl", "soon", code=2).stderr
    crossfade("segment", "set", "tried", "gold", "--force")
    said = crossfade("try", "tried", "v1", "--segment", "gold")
    assert said.stdout.endswith("\ncrossfade predict tried -i ROWS --version v1 --segment gold\n")


def test_what_is_not_there_is_said_with_the_command_that_lists_what_is(crossfade: Command, running: str) -> None:
    said = crossfade("versions", "show", running, "v9", code=1).stderr
    assert said == f"error: model {running} has no version v9; `crossfade versions {running}` lists them\n"
    said = crossfade("explain", running, "--rollout", "9", code=1).stderr
    assert said == f"error: model {running} has no rollout 9; `crossfade rollouts {running}` lists them\n"


def test_a_list_of_what_is_not_there_is_no_empty_list(crossfade: Command, artifact: Path) -> None:
    crossfade("publish", "listed", str(artifact))
    no_version = "error: model listed has no version v9; `crossfade versions listed` lists them\n"
    no_lane = "error: listed has no lane for the segment 'eu'; it has the default lane\n"
    for command in ("events", "rollouts"):
        assert crossfade(command, "listed", "--version", "v9", code=1).stderr == no_version
    for command in ("events", "rollouts", "versions"):
        assert crossfade(command, "listed", "--segment", "eu", code=1).stderr == no_lane
    assert "has no rollout 9" in crossfade("events", "listed", "--rollout", "9", code=1).stderr
    assert crossfade("events", "listed", "--version", "v1", "--until", "1h").stdout == "no events\n"
    assert crossfade("rollouts", "listed", "--version", "v1").stdout == (
        "listed has had no such rollout: crossfade rollouts listed lists all\n"
    )
    assert crossfade("versions", "listed", "--state", "failed").stdout == (
        "listed has no such version: crossfade versions listed lists all\n"
    )


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


def test_what_was_production_when(crossfade: Command, crossfade_json: Json, stack: Stack, running: str) -> None:
    revision = crossfade_json("events", running)["events"][-1]["revision"]
    crossfade("promote", running)
    stack.report(running, "v1", "v2")
    lines = crossfade("history", running).stdout.splitlines()
    assert ["version stable" in lines[0], "rollout promoted" in lines[1]] == [True, True]
    past = crossfade("history", running, "--revision", str(revision)).stdout.splitlines()
    assert past[0] == f"{running} at revision {revision}"
    assert past[1].startswith(" stable: v1 since ")
    assert past[2] == " tested: rollout 1"
    now = crossfade("history", running, "--at", "0s").stdout.splitlines()
    assert now[1].startswith(" stable: v2 since ")
    assert "was created after that moment" in crossfade("history", running, "--at", "2020-01-01", code=1).stderr
    for no_moment in ("Tuesday", "0001-01-01"):
        assert "is no moment" in crossfade("history", running, "--at", no_moment, code=2).stderr
    assert "one of them" in crossfade("history", running, "--at", "1h", "--revision", "3", code=2).stderr


def test_webhooks_are_listed_with_what_they_do_not_take(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "untold", str(artifact))
    assert crossfade("webhooks").stdout == "nobody is told of events: the Registry's CROSSFADE_WEBHOOKS names no file\n"
    event = "INSERT INTO outbox VALUES ('untold', 1, 'chat', '', now(), 3, now() + interval '90 s', 'HTTP 503')"
    with psycopg.connect(dsn(stack.database), autocommit=True) as connection:
        connection.execute(event)
        try:
            lines = crossfade("webhooks").stdout.splitlines()
        finally:
            connection.execute("DELETE FROM outbox")
    assert lines[0].split() == ["webhook", "posts", "to", "form", "models", "undelivered"]
    assert lines[1].startswith("chat     not in the Registry's settings any more")
    assert lines[2] == "chat has yet to be told"
    assert "tried 3 times" in lines[3]
    assert lines[3].endswith("HTTP 503")


def test_lists_say_which(crossfade: Command, crossfade_json: Json, running: str) -> None:
    crossfade("rollback", running)
    assert [one["type"] for one in crossfade_json("events", running, "--type", "rollout-rolled-back")["events"]] == [
        "ROLLOUT_ROLLED_BACK"
    ]
    assert crossfade("events", running, "--until", "1h").stdout == "no events\n"
    assert crossfade("events", running, "--since", "1h", "--version", "v2").stdout.count("\n") >= 4
    assert len(crossfade_json("versions", running, "--state", "failed")["versions"]) == 1
    assert len(crossfade_json("rollouts", running, "--state", "rolled-back", "--version", "v2")["rollouts"]) == 1
    said = crossfade("events", running, "--type", "rollout-promote", code=1).stderr
    assert said.startswith("error: --type 'ROLLOUT_PROMOTE' is no type of events: did you mean ROLLOUT_PROMOTED? ")
    said = crossfade("events", running, "--since", "1h", "--until", "2h", code=1).stderr
    assert said == "error: --until is not after --since\n"
    assert "there are PENDING, TESTING" in crossfade("versions", running, "--state", "bad", code=2).stderr


def test_what_is_refused_is_said_in_the_words_of_the_options(crossfade: Command, running: str, artifact: Path) -> None:
    said = crossfade("publish", running, str(artifact), "--plan", "5%:10s", code=1).stderr
    assert said.startswith(
        "error: --plan, step 1: period is wrong: the step's period is 10s and settling 30s, and nothing is judged "
    )
    assert "write a period of 2m or more" in said
    said = crossfade("publish", running, str(artifact), "--plan", "5%:10m,1%", code=1).stderr
    assert said == (
        "error: --plan, step 2: share is wrong: 100 basis points (1 %) is less than the step before has, "
        "500 basis points (5 %)\n"
    )
    said = crossfade("publish", running, str(artifact), "--segment", "E U", code=1).stderr
    assert said.startswith("error: segment 'E U' is not an id")


def test_a_model_is_described(crossfade: Command, artifact: Path) -> None:
    crossfade("publish", "told", str(artifact))
    assert crossfade("describe", "told", "Who leaves next month.").stdout == "told: Who leaves next month.\n"
    assert "Who leaves next month." in crossfade("models").stdout


def test_the_log_is_verified_and_one_altered_byte_or_removed_row_is_found(
    crossfade: Command, stack: Stack, running: str
) -> None:
    crossfade("rollback", running)
    said = crossfade("events", running, "--verify").stdout
    count = int(said.split(": ")[1].split()[0])
    assert count >= 6

    def broken(change: str, back: str, sequence: int) -> str:
        url = dsn(stack.database)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(change, {"model": running, "sequence": sequence})
            said = crossfade("events", running, "--verify", code=1).stderr
            connection.execute(back, {"model": running, "sequence": sequence})
        crossfade("events", running, "--verify")
        return said

    altered = (
        "UPDATE events SET actor = actor || 'x' WHERE model = %(model)s AND sequence = %(sequence)s",
        "UPDATE events SET actor = left(actor, -1) WHERE model = %(model)s AND sequence = %(sequence)s",
    )
    assert f"event 3 of {running} is not what was written" in broken(*altered, 3)
    removed = (
        "UPDATE events SET model = 'gone' WHERE model = %(model)s AND sequence = %(sequence)s",
        "UPDATE events SET model = %(model)s WHERE model = 'gone' AND sequence = %(sequence)s",
    )
    assert f"event 3 of {running} is missing" in broken(*removed, 3)
    assert "events before 2" in broken(*removed, 1)
    assert f"event {count} of models/{running}, the last that was written, is missing" in broken(*removed, count)


def test_an_event_put_in_at_the_end_is_found_and_holds_up_every_change(
    crossfade: Command, stack: Stack, running: str
) -> None:
    model, events = stack.ledger(running)
    forged = resources_pb2.Event(
        model=running,
        sequence=model.event_sequence + 1,
        type="ROLLOUT_ROLLED_BACK",
        version="v2",
        actor="eve",
        reason="It never was.",
        time=events[0].time,
        revision=events[0].revision,
        previous_hash=model.event_hash,
    )
    forged.hash = event_hash(forged)
    url = dsn(stack.database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO events (model, sequence, segment, version, rollout, type, time, actor, reason, revision, hash,
                                previous_hash)
            VALUES (%s, %s, '', %s, 0, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                forged.model,
                forged.sequence,
                forged.version,
                forged.type,
                forged.time.ToDatetime(UTC),
                forged.actor,
                forged.reason,
                forged.revision,
                forged.hash,
                forged.previous_hash,
            ),
        )
        said = crossfade("events", running, "--verify", code=1).stderr
        assert f"event {forged.sequence} of {running} was put in" in said
        said = crossfade("describe", running, "Who leaves.", code=1).stderr
        assert re.search(rf"Key \(model, ?sequence\)=\('?{running}'?, ?{forged.sequence}\) already exists", said)
        assert "`crossfade events MODEL --verify` says what is wrong" in said
        connection.execute("DELETE FROM events WHERE hash = %s", (forged.hash,))
    crossfade("describe", running, "Who leaves.")
    crossfade("events", running, "--verify")


def test_a_first_version_is_waited_for_until_it_is_routed_to(crossfade: Command, stack: Stack, artifact: Path) -> None:
    def load() -> None:
        asyncio.run(until(lambda: stack.has("routed", "v1")))
        stack.report("routed", "v1")

    stack.routes.behind = 1
    worker = threading.Thread(target=load)
    worker.start()
    said = crossfade("publish", "routed", str(artifact), "--wait", "--timeout", "20s")
    worker.join()
    assert said.stderr.splitlines()[-2:] == [
        f"v1 is ready; {stack.router} does not route to it yet",
        f"v1 answers at {stack.router}",
    ]


def test_a_first_version_that_no_router_says_it_routes_to_is_no_good_outcome(
    crossfade: Command, stack: Stack, artifact: Path
) -> None:
    def load() -> None:
        asyncio.run(until(lambda: stack.has("unrouted", "v1")))
        stack.report("unrouted", "v1")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    worker = threading.Thread(target=load)
    worker.start()
    said = crossfade("publish", "unrouted", str(artifact), "--wait", "--timeout", "20s", "--router", nobody, code=3)
    worker.join()
    assert said.stdout.startswith("v1 published; it is STABLE at once")
    assert said.stderr.splitlines()[-1] == (
        f"error: v1 is ready; at the Router: nothing answers at {nobody}. Is `crossfade up` running? "
        "(--router or CROSSFADE_ROUTER set another address)"
    )


def test_a_wait_ends_with_the_outcome(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "waited", str(artifact))
    stack.report("waited", "v1", "v2")
    late = crossfade("publish", "waited", str(artifact), "--wait", "--timeout", "1s", code=1)
    assert "error: not decided after 1 s: rollout 1: v2 RUNNING" in late.stderr


def test_a_stale_etag_tells_what_changed(crossfade: Command, stack: Stack, running: str) -> None:
    session = Session(Options(registry=stack.registry))

    def pause_twice(registry: Registry, rollout: Rollout) -> Rollout:
        pause_rollout(session, Target(running, "", None, "somebody else"))
        request = PauseRolloutRequest(name=rollout.name, etag=rollout.etag, reason="mine", request_id=request_id())
        return registry.pause(request)

    with pytest.raises(CommandError, match=r"it was RUNNING at 5 % .*, it is PAUSED at 5 % \(somebody else\)"):
        transitions._transition(session, Target(running, "", None, ""), pause_twice, lambda rollout, _: str(rollout))
    session.close()


def test_every_reading_command_has_json(crossfade_json: Json, running: str) -> None:
    assert {one["name"] for one in crossfade_json("models")["models"]} >= {f"models/{running}"}
    assert [one["version"] for one in crossfade_json("rollouts", running)["rollouts"]] == ["v2"]
    assert len(crossfade_json("versions", running)["versions"]) == 2
    assert crossfade_json("explain", running)["rollout"]["version"] == "v2"
    types = [one["type"] for one in crossfade_json("events", running, "-n", "3")["events"]]
    assert len(types) == 3
    assert len(crossfade_json("events", "-n", "2")["events"]) == 2
    assert {one["kind"] for one in crossfade_json("instances")["instances"]} == {
        "INSTANCE_KIND_WORKER",
        "INSTANCE_KIND_ROUTER",
    }
    assert crossfade_json("route", running, "--key", "u1")["bucket"] == 4_711


def test_the_route_says_why(crossfade: Command) -> None:
    assert crossfade("route", "churn", "--key", "u1").stdout == (
        "churn v1 (live): bucket 4711 of the key 'u1' is stable's\n"
        "  bucket 4711, epoch 3, routes of revision 9\n"
        "  served at 127.0.0.1:9001\n"
    )


def test_an_answer_that_does_not_come_in_time(
    crossfade: Command, stack: Stack, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.predictions, "silent", True)
    for more in ((), ("--stream",)):
        late = crossfade("predict", "m", "-i", str(sources / "rows.npy"), "--timeout", "200ms", *more, code=3)
        assert late.stderr == (
            f"error: {stack.router} did not answer in time (--timeout 200ms). Is it overloaded? "
            "(--router or CROSSFADE_ROUTER set another address)\n"
        )


def test_predict_and_feedback(
    crossfade: Command, crossfade_json: Json, stack: Stack, running: str, sources: Path, tmp_path: Path
) -> None:
    rows = str(sources / "rows.npy")
    said = crossfade(
        *("predict", running, "--input", rows, "--rows", "2", "--key", "u1"),
        *("--save", str(tmp_path / "answer.json"), "--output", str(tmp_path / "out.npz")),
    ).stdout.splitlines()
    assert said[0].startswith(f"{running} v1 answered 2 rows in ")
    assert said[2].split() == ["0", "middle", "0.1", "0.8", "0.1"]
    assert said[-1] == f"prediction {TOKEN}"
    # The model takes float32, and the file has float64.
    assert [(one.name, one.datatype) for one in stack.predictions.requests[-1].inputs] == [("input", "FP32")]
    assert stack.predictions.metadata[-1]["x-crossfade-key"] == "u1"
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["output"].shape == (2, 3)
    assert json.loads((tmp_path / "answer.json").read_text())["predicted"] == ["middle", "middle"]
    assert crossfade("feedback", str(tmp_path / "answer.json"), "low", "-", "high").stdout == "2 labels counted\n"
    again = crossfade_json("feedback", TOKEN, "low", "--row", "0")
    assert again == {"accepted": 0, "labels": 0, "values": 0, "duplicates": 1, "too_late": 0, "refused": []}
    refused = crossfade("feedback", "forged", "low", code=1)
    assert refused.stderr == "error: 1 label refused: the prediction id is not ours\n"
    # A segment without a lane of its own has the default lane's classes.
    assert crossfade_json("predict", running, "--input", rows, "--rows", "1", "--segment", "eu")["predicted"] == [
        "middle"
    ]
    from_stdin = crossfade("predict", running, "--input", "-", "--json", stdin="[[1, 2, 3, 4]]").stdout
    assert json.loads(from_stdin)["version"] == "v1"


def test_an_answer_in_parts_is_printed_as_it_comes(
    crossfade: Command, stack: Stack, running: str, sources: Path, tmp_path: Path
) -> None:
    call = ("predict", running, "--input", str(sources / "rows.npy"), "--rows", "1", "--stream")
    files = ("--save", str(tmp_path / "last.json"), "--output", str(tmp_path / "parts.npz"))
    said = crossfade(*call, "--max-parts", "2", "--key", "u1", *files).stdout.splitlines()
    assert said[:2] == ["     1  character 0", "     2  character 1"]
    assert said[2].startswith(f"{running} v1 answered 2 parts in ")
    assert said[3:] == [f"prediction {TOKEN}"]
    assert stack.predictions.metadata[-1]["x-crossfade-key"] == "u1"
    with np.load(tmp_path / "parts.npz") as outputs:
        assert outputs["character"].ravel().tolist() == [0, 1]
    assert json.loads((tmp_path / "last.json").read_text())["prediction_id"] == TOKEN
    lines = crossfade(*call, "--json").stdout.splitlines()
    parts = [json.loads(line) for line in lines]
    assert [part["part"] for part in parts] == [1, 2, 3]
    assert [part["prediction_id"] for part in parts] == ["", "", TOKEN]
    assert parts[2]["outputs"] == {"character": [[2]]}
    refused = crossfade("predict", running, "--input", str(sources / "rows.npy"), "--max-parts", "2", code=2)
    assert "--max-parts is for --stream" in refused.stderr


def test_a_forecast_says_what_a_rollout_needs(
    crossfade: Command, crossfade_json: Json, running: str, tmp_path: Path
) -> None:
    said = crossfade("forecast", running, "--watch", "1s", "--drop", "errors=2%").stdout.splitlines()
    assert said[0].startswith(f"{running} · ")
    assert " requests/s, 0 labels/s of v1, watched for " in said[0]
    assert said[1] == "5 % for at most 1 h"
    assert said[2].split()[:3] == ["gate", "v1", "safe,"]
    assert said[3].split()[0] == "errors"
    assert "+2 pt: " in said[3]
    assert crossfade_json("forecast", running, "--watch", "1s")["stable"] == "v1"
    by_key = " ".join(crossfade("forecast", running, "--assignment", "key", code=1).stderr.split())
    assert "that is counted only while a rollout is assigned by key" in by_key
    assert "--drop 'errors'" in crossfade("forecast", running, "--drop", "errors", code=2).stderr
    assert "the policy has no gate 'speed'" in crossfade("forecast", running, "--drop", "speed=1%", code=1).stderr


def test_a_rollout_that_nobody_has_looked_at_is_not_replayed(crossfade: Command, running: str, tmp_path: Path) -> None:
    assert "nobody has looked at" in crossfade("replay", running, code=1).stderr
    assert "nobody has looked at" in crossfade("replay", running, "--rollout", "1", code=1).stderr
    policy = tmp_path / "strict.yaml"
    policy.write_text("gates:\n  - {metric: recall, required: true, positive_class: none}\n")
    told = crossfade("replay", running, "--policy", str(policy), code=1).stderr
    assert f"{policy}:2: gates[0].positive_class: 'none' is no class of the model" in told


def test_policy_check_by_key(crossfade: Command, tmp_path: Path) -> None:
    policy = tmp_path / "keyed.yaml"
    policy.write_text("gates:\n  - {metric: errors, required: true}\n  - {metric: runtime, required: true}\n")
    assert "can be used" in crossfade("policy", "check", str(policy)).stdout
    told = crossfade("policy", "check", str(policy), "--assignment", "key", code=1).stderr
    assert f"{policy}:3: gates[1]: runtime can't be judged where requests are assigned by key" in told
    assert "neither request nor key" in crossfade("policy", "check", str(policy), "--assignment", "user", code=2).stderr


def test_policy_check(crossfade: Command, crossfade_json: Json, tmp_path: Path) -> None:
    good, bad, wrong = (tmp_path / name for name in ("good.yaml", "bad.yaml", "wrong.yaml"))
    good.write_text("look_interval: 2s\n")
    assert "can be used; with every default:\n\nplan:\n- " in crossfade("policy", "check", str(good)).stdout
    assert crossfade_json("policy", "check", str(good))["policy"]["look_interval"] == "2s"
    good.write_text("# nothing yet\n")
    said = crossfade("policy", "check", str(good)).stdout
    assert said.startswith(f"{good} says nothing, and so is the default policy:\n\nplan:\n- ")
    bad.write_text("plan:\n- share: 50%\n- share: 5%\ngates:\n- metric: errors\n")
    lines = crossfade("policy", "check", str(bad), code=1).stderr.splitlines()
    assert lines[0].startswith(f"error: {bad}:")
    assert any(f"{bad}:3: plan[1].share" in line for line in lines)
    bad.write_text("plan:\n- share: 5%\n  period: 2h\nsettling: 3h\ngates:\n- {metric: errors, required: true}\n")
    told = crossfade("policy", "check", str(bad), code=1).stderr
    assert told.startswith(f"error: {bad}:3: plan[0].period: the step's period is 2h and settling 3h, and nothing is ")
    wrong.write_text("gates:\n- metric: speed\n")
    assert f"{wrong}:2: gates[0].metric: 'speed'" in crossfade("policy", "check", str(wrong), code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("status", "nobody"), 1, "error: there is no model nobody; `crossfade models` lists them"),
        (("versions", "show", "nobody", "v1"), 1, "error: "),
        (("versions", "show", "nobody"), 2, "error: write crossfade versions MODEL"),
        (("status", "not a model"), 2, "error: model 'not a model' is not an id"),
        (("status", "m", "--interval", "soon"), 2, "error: --interval: 'soon' is no duration"),
        (("publish", "m"), 2, "Missing argument 'DIR'"),
        (("publish", "m", "/nowhere"), 1, "error: /nowhere is no artifact"),
        (("publish", "m", "/nowhere", "--share", "5%", "--plan", "5%"), 2, "error: --plan and --share"),
        (("events", "--rollout", "3"), 2, "error: --rollout takes a model"),
        (("predict", "m", "--input", "/nowhere.npy"), 1, "error: /nowhere.npy cannot be read"),
        (("predict", "m", "--input", "/nowhere.npy", "--key", "Jürgen"), 2, "error: --key 'Jürgen' has characters"),
        (
            ("predict", "m", "--input", "/nowhere.npy", "--segment", "a\nb"),
            2,
            "error: --segment 'a\\nb' has characters",
        ),
        (("predict", "m", "--input", "/nowhere.npy", "--segment", "A_B!"), 2, "error: segment 'A_B!' is not an id"),
        (("route", "m", "--segment", "A_B!"), 2, "error: segment 'A_B!' is not an id"),
        (("predict", "m", "--input", "/nowhere.npy", "--version", "é", "--stream"), 2, "error: --version 'é' has"),
        (("publish", "m", "/nowhere", "--policy", "/nowhere.yaml"), 1, "error: /nowhere.yaml:1: it cannot be read"),
        (("policy", "check", "/nowhere.yaml"), 1, "error: /nowhere.yaml:1: it cannot be read: No such file"),
        (("feedback", "/nowhere.json", "low"), 1, "error: /nowhere.json cannot be read"),
        (("feedback", "x.json", "1", "--row", "64"), 2, "Invalid value for '--row'"),
        (("package", "nothing", "--example", "x.npy", "--to", "y"), 2, "error: 'nothing' names no model"),
        (("package", "none.py:x", "--example", "x.npy", "--to", "y"), 1, "error: there is no file none.py"),
        (("models", "--registry", "nowhere"), 2, "error: --registry 'nowhere' is not an address"),
        (("models", "--user", "Jürgen"), 2, "error: the user name 'Jürgen' has characters beyond ASCII"),
    ],
)
def test_refusals(crossfade: Command, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = crossfade(*arguments, code=code)
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_what_is_no_module(crossfade: Command, sources: Path) -> None:
    rest = ("--example", str(sources / "rows.npy"), "--to", str(sources / "never"))
    assert "is a int, neither" in crossfade("package", f"{sources / 'model.py'}:number", *rest, code=1).stderr
    assert "has no 'absent'" in crossfade("package", f"{sources / 'model.py'}:absent", *rest, code=1).stderr


def test_one_step_of_a_model_that_answers_in_parts_is_packaged(
    crossfade: Command, sources: Path, tmp_path: Path
) -> None:
    (tmp_path / "decay.py").write_text(
        "from torch import Tensor, nn\n\n\n"
        "class Decay(nn.Module):\n"
        "    def forward(self, rows: Tensor) -> dict[str, Tensor]:\n"
        "        return {'rows': rows * 0.5, 'size': rows.sum(dim=1, keepdim=True)}\n"
    )
    loop = tmp_path / "loop.json"
    loop.write_text('{"feeds": {"input": "rows"}, "parts": ["size"], "max_parts": 9}')
    rows = str(sources / "rows.npy")
    call = ("package", f"{tmp_path / 'decay.py'}:Decay", "--example", rows, "--loop", str(loop))
    crossfade(*call, "--to", str(tmp_path / "decay"))
    crossfade("publish", "decay", str(tmp_path / "decay"))
    shown = crossfade("versions", "show", "decay", "v1").stdout
    assert "size, step by step (crossfade predict --stream)" in shown
    loop.write_text('{"feeds": {"input": "rows"}, "parts": ["size"]}')
    refused = crossfade(*call, "--to", str(tmp_path / "again"), code=2)
    assert "max_parts: missing" in refused.stderr
    assert '"feeds": {"INPUT": "OUTPUT"}' in refused.stderr
    assert "cannot be read" in crossfade(*call[:-1], "/nowhere.json", "--to", str(tmp_path / "again"), code=1).stderr


def test_nothing_answers(crossfade: Command, artifact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    for option, arguments in (
        ("registry", ("models",)),
        ("registry", ("publish", "m", str(artifact))),
        ("router", ("route", "m")),
    ):
        result = crossfade(*arguments, f"--{option}", address, code=3)
        assert result.stderr == (
            f"error: nothing answers at {address}. Is `crossfade up` running? "
            f"(--{option} or CROSSFADE_{option.upper()} set another address)"
            f"{'. Nothing was changed' if arguments[0] == 'publish' else ''}\n"
        )


def test_with_json_what_is_refused_says_why_to_programs(crossfade: Command, running: str) -> None:
    known = crossfade("explain", running, "--rollout", "9", "--json", code=1)
    said = json.loads(known.stderr)["error"]
    assert (said["code"], said["reason"], said["metadata"]["model"]) == ("NOT_FOUND", "ROLLOUT_NOT_FOUND", running)
    refused = crossfade("start", running, "v9", "--json", "--request-id", ID, code=1)
    said = json.loads(refused.stderr)["error"]
    assert (said["code"], said["reason"]) == ("NOT_FOUND", "VERSION_NOT_FOUND")
    assert said["request_id"].startswith(f"{ID}:")
    assert f"error: {said['message']}\n" == crossfade("start", running, "v9", code=1).stderr


def test_another_service_answers(crossfade: Command, stack: Stack, sources: Path) -> None:
    said = crossfade("predict", "m", "-i", str(sources / "rows.npy"), "--router", stack.registry, code=1).stderr
    assert said.startswith(f"error: what answers at {stack.registry} is no Router of Crossfade")


def test_status_goes_on_without_a_router(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "alone", str(artifact))
    said = crossfade("status", "alone").stdout
    assert " v1  STABLE  100.0 %  ████████████████████" in said


def test_certificates(crossfade: Command, crossfade_json: Json, tmp_path: Path) -> None:
    made = crossfade_json("certs", "dev", "--to", str(tmp_path / "tls"), "--name", "router")
    assert "operator.key" in made["files"]
    assert "already" in crossfade("certs", "dev", "--to", str(tmp_path / "tls"), code=1).stderr


def test_a_signing_key_signs_an_artifact(
    crossfade: Command, crossfade_json: Json, artifact: Path, tmp_path: Path
) -> None:
    made = crossfade_json("certs", "signing", "--to", str(tmp_path))
    assert "never overwritten" in crossfade("certs", "signing", "--to", str(tmp_path), code=1).stderr
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    signed = crossfade_json("sign", str(folder), "--key", made["private"])
    assert signed == {"signature": str(folder / "model.sig")}
    assert verify_artifact(folder, [Path(made["public"])]) == Path(made["public"])
    crossfade("publish", "signed", str(folder))
    assert "certs signing" in crossfade("sign", str(folder), "--key", str(tmp_path / "none"), code=1).stderr
    no_file = ("--password-file", str(tmp_path / "none"))
    assert "cannot be read" in crossfade("sign", str(folder), "--key", made["private"], *no_file, code=1).stderr
