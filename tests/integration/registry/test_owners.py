"""What a process reports of itself is of its certificate's name alone."""

import psycopg

from crossfade.connection import USER_KEY
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.integration.registry.harness import READY, FakeWorker, Registry, Secured, new_id, refused

Database = psycopg.Connection[tuple[object, ...]]
OURS, OTHERS = "spiffe://crossfade/worker/worker", "spiffe://crossfade/worker/other"


def owners(database: Database) -> list[object]:
    return [owner for (owner,) in database.execute("SELECT DISTINCT owner FROM instances").fetchall()]


def give(database: Database, owner: str) -> None:
    database.execute("UPDATE instances SET owner = %s", (owner,))


async def reporting(secured: Secured) -> FakeWorker:
    """A Worker whose first report was taken."""
    worker = secured.worker.worker()
    worker.set("v1", READY)
    await worker.report(sequence=1)
    return worker


async def test_another_principals_instance_is_not_to_be_changed(secured: Secured, shared_database: Database) -> None:
    worker = await reporting(secured)
    assert owners(shared_database) == [OURS]
    # Whoever has our name goes on: with a new certificate, and every process where they share one.
    await worker.report(sequence=2)
    give(shared_database, OTHERS)
    before = shared_database.execute("SELECT * FROM instances ORDER BY instance_id").fetchall()
    # A report like the one that is stored renews nothing either.
    for changed in (False, True):
        if changed:
            worker.set("v2", READY)
        for leaving in (False, True):
            refusal = await refused(worker.report(sequence=9, leaving=leaving))
            assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "INSTANCE_OWNER")
            assert "start it again" in refusal.message
            assert OTHERS not in refusal.message
    assert shared_database.execute("SELECT * FROM instances ORDER BY instance_id").fetchall() == before


async def test_the_id_of_one_that_has_left_is_free(secured: Secured, shared_database: Database) -> None:
    worker = await reporting(secured)
    await worker.report(sequence=7, leaving=True)
    give(shared_database, OTHERS)
    # Nor does its leaving come again from another.
    await worker.report(sequence=8, leaving=True)
    assert owners(shared_database) == [OTHERS]
    await worker.report(sequence=1)
    where = "SELECT owner, gone, sequence FROM instances WHERE instance_id = %s"
    assert shared_database.execute(where, (worker.instance_id,)).fetchone() == (OURS, False, 1)


async def test_what_a_release_before_has_stored_is_the_next_reporters(
    secured: Secured, shared_database: Database
) -> None:
    worker = await reporting(secured)
    give(shared_database, "")
    await worker.report(sequence=2)
    owner = "SELECT owner FROM instances WHERE instance_id = %s"
    assert shared_database.execute(owner, (worker.instance_id,)).fetchone() == (OURS,)


async def test_without_certificates_anybody_reports(registry: Registry, shared_database: Database) -> None:
    instance = resources_pb2.Instance(
        instance_id=new_id(), kind=resources_pb2.INSTANCE_KIND_ROUTER, address="127.0.0.1:1"
    )
    request = service_pb2.ReportInstanceRequest(instance=instance)
    for user in ("ana", "bob"):
        request.instance.address = f"{user}:1"
        await registry.stub.ReportInstance(request, metadata=((USER_KEY, user),))
    assert shared_database.execute("SELECT address, owner FROM instances").fetchall() == [("bob:1", "")]
