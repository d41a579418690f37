"""The log of events, verified by the command."""

import re
from datetime import UTC

import psycopg

from benchmarks.dsn import dsn
from crossfade.ledger import event_hash
from crossfade.registry.v1 import resources_pb2
from tests.integration.cli.conftest import Command
from tests.integration.cli.stack import Stack


def test_the_log_is_verified_and_one_altered_byte_or_removed_row_is_found(
    crossfade: Command, stack: Stack, running: str
) -> None:
    crossfade("rollback", running)
    said = crossfade("events", "verify", running).stdout
    assert said == crossfade("events", running, "--verify").stdout
    count = int(said.split(": ")[1].split()[0])
    assert count >= 6

    def broken(change: str, back: str, sequence: int) -> str:
        url = dsn(stack.database)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(change, {"model": running, "sequence": sequence})
            said = crossfade("events", running, "--verify", code=1).stderr
            assert crossfade("events", "verify", code=1).stderr == said
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
        assert "`crossfade events verify MODEL` says what is wrong" in said
        connection.execute("DELETE FROM events WHERE hash = %s", (forged.hash,))
    crossfade("describe", running, "Who leaves.")
    crossfade("events", running, "--verify")


def test_the_events_of_one_model_are_asked_for_at_a_time(crossfade: Command, running: str) -> None:
    assert "drop other, or name no model" in crossfade("events", running, "other", code=2).stderr


def test_whole_logs_are_verified_or_none(crossfade: Command, running: str) -> None:
    for chosen in (["--type", "rollout-started"], ["--segment", ""], ["--since", "1h"], ["--rollout", "1"]):
        said = crossfade("events", running, "--verify", *chosen, code=2).stderr
        assert "--verify checks whole logs" in said
