"""A release before goes on reading and writing after the migration, and this one reads what it writes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.database.schema import REVISIONS
from tests.integration.registry.harness import Registry, Start, new_id, plan, version
from tests.integration.registry.test_profiles import profile
from tests.integration.registry.watching import watching
from tests.integration.registry.webhook_receiver import webhooks
from tests.support.older_schema import OlderRelease, migrate_to
from tests.support.wait import until_async

pytestmark = pytest.mark.postgres_only

OF_MIGRATIONS = re.compile(r"\balembic_version\b|\bschema_release\b|^\s*(select|SELECT|SHOW|SET)\b")
CREATED = re.compile(r"\s*CREATE TABLE IF NOT EXISTS (\w+)")
INDEX = re.compile(r"\s*CREATE (?P<unique>UNIQUE )?INDEX IF NOT EXISTS \w+\s+ON (?P<table>\w+)")
COLUMN = re.compile(r"\s*ALTER TABLE \w+ ADD COLUMN IF NOT EXISTS \w+ (?P<kind>.*)")
ROW = re.compile(r"\s*INSERT INTO .* ON CONFLICT .* DO NOTHING", re.DOTALL)
INDEX_LESS = re.compile(r"\s*DROP INDEX IF EXISTS ")
NOT_IN_COCKROACHDB = re.compile(r"\bSERIAL\b|SEQUENCE |\bENUM\b|DEFERRABLE|nextval|;")


async def life(registry: Registry, model: str) -> None:
    """Something in every table."""
    rollout = await registry.running(model)
    await registry.look(rollout, 1)
    await registry.promote(rollout)
    alert = resources_pb2.Alert(gate="errors", reason="v2 failed")
    monitor = resources_pb2.Monitor(model=f"models/{model}", version="v2", sequence=1, alerts=[alert])
    await registry.stub.RecordMonitor(service_pb2.RecordMonitorRequest(monitor=monitor, request_id=new_id()))
    published = version(profile=profile())
    request = service_pb2.PublishVersionRequest(
        parent=f"models/{model}", version=published, rollout=plan(500, 5000), request_id=new_id()
    )
    await registry.stub.PublishVersion(request)
    await registry.worker(model).ready("v2", "v3", control="v2")


async def told_in_vain(registry: Registry) -> bool:
    """Whether the webhook has failed."""
    (hook,) = (await registry.stub.ListWebhooks(service_pb2.ListWebhooksRequest())).webhooks
    return any(one.error for one in hook.deliveries)


async def seen(registry: Registry) -> list[Any]:
    """What a Registry shows."""
    stub = registry.stub
    return [
        await stub.ListModels(service_pb2.ListModelsRequest()),
        await stub.ListRollouts(service_pb2.ListRolloutsRequest(parent="models/-")),
        await stub.ListEvents(service_pb2.ListEventsRequest(parent="models/-")),
        *[
            await stub.GetVersion(service_pb2.GetVersionRequest(name=f"models/{model}/versions/v3"))
            for model in ("m", "n")
        ],
        (await stub.ListWebhooks(service_pb2.ListWebhooksRequest())).webhooks[0].host,
    ]


@pytest.mark.parametrize("revision", [REVISIONS[0], REVISIONS[-2]])
async def test_a_release_before_goes_on_writing_after_the_migration(
    start: Start, own_databases: Callable[[], str], empty_database: str, tmp_path: Path, revision: str
) -> None:
    newest = own_databases()
    migrate_to(empty_database, revision)
    before = OlderRelease.of(empty_database)
    settings = {
        "webhooks": webhooks(tmp_path, {"name": "dead", "url": "http://127.0.0.1:1/"}),
        "webhook_poll_seconds": 0.05,
    }
    first = await start(database=newest, **settings)
    await life(first, "m")
    await until_async(lambda: told_in_vain(first))
    written = before.write(newest, empty_database)
    assert [table for table, rows in written.items() if not rows] == []
    migrate_to(empty_database, REVISIONS[-1])
    # What it changes and adds meanwhile.
    await first.promote(await first.rollout(2), force=True)
    await life(first, "n")
    before.write(newest, empty_database)
    expected = await seen(first)
    await first.app.stop()

    registry = await start(database=empty_database, **settings)
    assert await seen(registry) == expected
    last = (await registry.events("n"))[-1].revision
    async with watching(registry, start=1) as watch:
        assert [one.revision for one in await watch.until(last)] == list(range(2, last + 1))
    await registry.promote(await registry.rollout(2, "n"), force=True)
    for model in ("m", "n"):
        verify(await registry.model(model), reversed(await registry.events(model)))
    # And that release reads all of it.
    assert before.write(empty_database, newest)["models"] == 2


def test_a_migration_takes_nothing_away_and_asks_nothing_new_of_what_is_written(empty_database: str) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not OF_MIGRATIONS.search(statement):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for revision in REVISIONS:
            statements.clear()
            migrate_to(empty_database, revision)
            assert statements, revision
            new = {found[1] for one in statements if (found := CREATED.match(one))}
            for statement in statements:
                assert harmless(statement, new), f"{revision}: {statement}"
                assert not NOT_IN_COCKROACHDB.search(statement), f"{revision}: {statement}"
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def harmless(statement: str, new: set[str]) -> bool:
    """Whether a statement leaves to a release before what it knows; it knows nothing of new tables."""
    if column := COLUMN.match(statement):
        return "NOT NULL" not in column["kind"] or "DEFAULT" in column["kind"]
    if index := INDEX.match(statement):
        return not index["unique"] or index["table"] in new
    return any(kind.match(statement) for kind in (CREATED, ROW, INDEX_LESS))
