"""What the command shows and lists: status, events, rollouts, versions, history, routes."""

import datetime as dt
import json
from pathlib import Path

import psycopg

from benchmarks.dsn import dsn
from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import Stack


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


def test_status_goes_on_without_a_router(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "alone", str(artifact))
    nobody = "127.0.0.1:1"
    stack.report_router(nobody)
    try:
        said = crossfade("status", "alone", "--router", nobody).stdout
    finally:
        stack.report_router(stack.router)
    assert " v1  STABLE  100.0 %  ████████████████████" in said
    assert f" note: no Router could be read ({nobody}), so requests, runtimes and errors are not shown" in said


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
    # However a moment is written, it is told in the zone of the other times.
    here = dt.datetime.now().astimezone().replace(microsecond=0)
    there = here.astimezone(dt.timezone(dt.timedelta(hours=9, minutes=30)))
    told = crossfade("history", running, "--at", there.isoformat()).stdout.splitlines()
    assert told[0] == f"{running} at {here:%Y-%m-%d %H:%M:%S %Z}"
    assert "was created after that moment" in crossfade("history", running, "--at", "2020-01-01", code=1).stderr
    for no_moment in ("Tuesday", "0001-01-01", ""):
        assert "is no moment" in crossfade("history", running, "--at", no_moment, code=2).stderr
    assert "one of them" in crossfade("history", running, "--at", "1h", "--revision", "3", code=2).stderr


def test_lists_say_that_they_leave_older_ones_out(crossfade: Command, crossfade_json: Json, running: str) -> None:
    crossfade("promote", running)
    for command in ("events", "history"):
        whole = crossfade(command, running).stdout.splitlines()
        assert "left out" not in whole[0]
        count = len(whole)
        assert crossfade(command, running, "-n", str(count)).stdout.splitlines() == whole
        first, *shown = crossfade(command, running, "-n", str(count - 1)).stdout.splitlines()
        assert (first, shown) == (f"(older ones are left out: -n {4 * (count - 1)} shows more)", whole[1:])
        assert len(crossfade_json(command, running, "-n", str(count - 1))["events"]) == count - 1


def test_lists_say_which(crossfade: Command, crossfade_json: Json, running: str) -> None:
    crossfade("rollback", running)
    assert [one["type"] for one in crossfade_json("events", running, "--type", "rollout-rolled-back")["events"]] == [
        "ROLLOUT_ROLLED_BACK"
    ]
    assert crossfade("events", running, "--until", "1h").stdout == "no events\n"
    assert crossfade("events", running, "--since", "1h", "--version", "v2").stdout.count("\n") >= 4
    assert len(crossfade_json("versions", running, "--state", "failed")["versions"]) == 1
    assert len(crossfade_json("rollouts", running, "--state", "rolled-back", "--version", "v2")["rollouts"]) == 1
    said = crossfade("events", running, "--type", "rollout-promote", code=2).stderr
    assert said.startswith("error: --type 'ROLLOUT_PROMOTE' is no type of events: did you mean ROLLOUT_PROMOTED? ")
    said = crossfade("events", running, "--since", "1h", "--until", "2h", code=2).stderr
    assert said == "error: --until is not after --since\n"
    assert "there are PENDING, TESTING" in crossfade("versions", running, "--state", "bad", code=2).stderr


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


def test_what_is_not_there_is_said_with_the_command_that_lists_what_is(crossfade: Command, running: str) -> None:
    said = crossfade("versions", "show", running, "v9", code=1).stderr
    assert said == f"error: model {running} has no version v9; `crossfade versions {running}` lists them\n"
    said = crossfade("explain", running, "--rollout", "9", code=1).stderr
    assert said == f"error: model {running} has no rollout 9; `crossfade rollouts {running}` lists them\n"


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


def test_a_model_is_described(crossfade: Command, artifact: Path) -> None:
    crossfade("publish", "told", str(artifact))
    assert crossfade("describe", "told", "Who leaves next month.").stdout == "told: Who leaves next month.\n"
    assert "Who leaves next month." in crossfade("models").stdout


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


def test_what_a_webhook_does_not_take_is_forgotten_on_request(crossfade: Command, stack: Stack, artifact: Path) -> None:
    crossfade("publish", "forgotten", str(artifact))
    event = "INSERT INTO outbox VALUES ('forgotten', %s, 'gone', '', now() - interval '3 h', 3, now(), 'HTTP 503')"
    with psycopg.connect(dsn(stack.database), autocommit=True) as connection:
        for sequence in (1, 2):
            connection.execute(event, (sequence,))
    said = crossfade("webhooks", "retry", "gone", code=1).stderr
    assert "there is no webhook gone; the settings name: none; the Registry's CROSSFADE_WEBHOOKS names the file" in said
    assert crossfade("webhooks", "drop", "gone", "--model", "other").stdout == "gone is not told of 0 events\n"
    assert crossfade("webhooks", "drop", "gone", "--before", "4h").stdout == "gone is not told of 0 events\n"
    assert json.loads(crossfade("webhooks", "--json", "drop", "gone", "--before", "2h").stdout) == {"dropped": 2}
    assert json.loads(crossfade("webhooks", "--json").stdout) == {"webhooks": []}
    assert "there is no webhook gone; there are: none" in crossfade("webhooks", "drop", "gone", code=1).stderr
