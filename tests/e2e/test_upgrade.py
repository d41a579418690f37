"""One service after the other is upgraded under load from the release before, and taken back: nobody notices."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from crossfade.artifact import Artifact
from crossfade.client import PredictError
from crossfade.ledger import verify
from crossfade.registry.v1 import resources_pb2, service_pb2
from services.common.ports import free_port
from services.local.postgres import Postgres
from services.local.processes import Service, ServiceProcess, run_once
from services.local.stack import MODULES
from tests.e2e.conftest import ENDED, MODEL, PROMOTED, QUICK, ROLLED_BACK, Load, Users, rows
from tests.support.wait import until_async

BEFORE: Final = os.environ.get("CROSSFADE_TEST_RELEASE_BEFORE", "")

pytestmark = pytest.mark.skipif(not BEFORE, reason="needs the release before: make test-upgrade BEFORE=REVISION")

_RATE: Final = 60
_POLICY: Final = f"""{QUICK}
  - {{metric: accuracy, required: true, harm: {{offset: 0.05}}, safe: {{offset: 0.2}}}}
labels: {{min_age: 1s}}
"""
_RUNNING = resources_pb2.ROLLOUT_STATE_RUNNING


class LabelledLoad(Load):
    """Whoever calls learns a little later what the answer should have been, and says so."""

    async def _call(self, number: int) -> None:
        row = rows(1, seed=number)
        try:
            answer = await self._client.predict(MODEL, row)
            self.versions.append(answer.version)
            await asyncio.sleep(0.5)
            await self._client.feedback(answer, ["yes" if row.sum() > 0 else "no"])
        except PredictError as error:
            self.errors.append(error)


class Fleet:
    """Services of two releases on one database, two Registries among them.

    Args:
        folder: for all that they keep.
        database: the database's URL.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self._folder = folder
        self._database = database
        self._running: list[ServiceProcess] = []
        self.registries = [f"127.0.0.1:{free_port()}" for _ in range(2)]

    @property
    def registry(self) -> str:
        """Where the Registries are, for those who call them."""
        return f"ipv4:{','.join(self.registries)}"

    async def migrate(self, *, before: bool = False) -> None:
        """Brings the database to a release's schema."""
        await run_once(self._service("registry", self.registries[0], before=before), "migrate")

    async def start(self, name: str, *, before: bool = False, address: str = "") -> ServiceProcess:
        """Starts a service of a release, and waits until it answers."""
        process = ServiceProcess(self._service(name, address or f"127.0.0.1:{free_port()}", before=before))
        self._running.append(process)
        await process.start()
        await process.ready()
        return process

    async def replace(self, process: ServiceProcess, *, before: bool = False) -> ServiceProcess:
        """Ends a Registry or an Evaluator and starts one of the other release in its place."""
        await process.stop()
        return await self.start(process.service.name, before=before, address=process.service.address)

    async def relieve(self, worker: ServiceProcess, users: Users, *, before: bool = False) -> ServiceProcess:
        """Starts a Worker of the other release beside one, and ends that once the other serves as much."""
        other = await self.start("worker", before=before)

        async def serves_as_much() -> bool:
            request = service_pb2.ListInstancesRequest(kind=resources_pb2.INSTANCE_KIND_WORKER)
            found: dict[str, set[tuple[str, int]]] = {}
            for instance in (await users.registry.ListInstances(request)).instances:
                ready = (one for one in instance.serving if one.state == resources_pb2.SERVING_STATE_READY)
                found[instance.address] = {(one.version, one.traffic) for one in ready}
            return found.get(other.service.address, set()) >= found[worker.service.address]

        await until_async(serves_as_much, seconds=60)
        await worker.stop()
        return other

    def lines(self) -> list[str]:
        """What all of them have logged."""
        return [line for path in self._folder.glob("*.log") for line in path.read_text().splitlines()]

    async def stop(self) -> None:
        """Ends all, the Registries last."""
        for process in reversed(self._running):
            await process.stop()

    def _service(self, name: str, address: str, *, before: bool) -> Service:
        environment = {
            "CROSSFADE_LISTEN": address,
            "CROSSFADE_REGISTRY": self.registry,
            "CROSSFADE_TOKEN_KEYS": str(self._folder / "token-keys"),
            "CROSSFADE_DATABASE": self._database,
            "CROSSFADE_ARTIFACT_CACHE": str(self._folder / "cache"),
            "CROSSFADE_TABLE_FILE": str(self._folder / f"routes-{address}"),
        }
        if before:
            # Its code comes first, and not what lies where this test was started.
            environment |= {"PYTHONPATH": f"{BEFORE}:{BEFORE}/sdk", "PYTHONSAFEPATH": "1"}
        release = "before" if before else "this"
        log = self._folder / f"{name}-{release}-{address}.log"
        return Service(name, MODULES[name], address, log, environment)


class Callers:
    """Users of one Router after the other.

    Args:
        fleet: the services.
        artifacts: by version.
    """

    def __init__(self, fleet: Fleet, artifacts: Mapping[str, Artifact]) -> None:
        self._fleet = fleet
        self._artifacts = artifacts
        self._everybody: list[Users] = []
        self.users = self._at(fleet.registries[0])
        self.loads: list[Load] = []

    async def go_to(self, router: ServiceProcess) -> None:
        """Calls this Router from now on, and once it answers no other one any more."""
        self.users = self._at(router.service.address)
        await until_async(self._are_answered, seconds=60)
        self.loads.append(LabelledLoad(self.users.client, _RATE))
        for load in self.loads[:-1]:
            await load.stop()

    async def begin(self, version: str, artifact: str) -> str:
        """Publishes a version; the name of its rollout, which runs."""
        published = await self.users.publish(version, policy=_POLICY, artifact=artifact)
        await self.users.until_state(published.rollout.name, _RUNNING, seconds=60)
        return published.rollout.name

    async def end(self, rollout: str) -> tuple[int, str]:
        """The rollout's last state, and the gate that ended it."""
        ended = await self.users.until_state(rollout, *ENDED, seconds=180)
        return ended.state, ended.outcome.gate

    async def stop(self) -> None:
        """Makes no more calls."""
        for load in self.loads:
            await load.stop()

    async def close(self) -> None:
        """Ends the calls, and closes all channels."""
        await self.stop()
        for users in self._everybody:
            await users.close()

    def _at(self, router: str) -> Users:
        self._everybody.append(Users(self._fleet.registry, router, self._artifacts))
        return self._everybody[-1]

    async def _are_answered(self) -> bool:
        # By which version hangs on how far the rollout is.
        try:
            await self.users.client.predict(MODEL, rows(1), timeout=2.0)
        except PredictError:
            return False
        return True


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """Nothing runs yet but the database."""
    (tmp_path / "token-keys").write_text("1 00112233445566778899aabbccddeeff\n")
    postgres = Postgres(tmp_path / "database")
    postgres.start()
    postgres.create_database("crossfade")
    made = Fleet(tmp_path, postgres.url("crossfade"))
    yield made
    await made.stop()
    postgres.stop()


@pytest.fixture
async def callers(fleet: Fleet, artifacts: Mapping[str, Artifact]) -> AsyncIterator[Callers]:
    """Nobody calls yet."""
    made = Callers(fleet, artifacts)
    yield made
    await made.close()


@pytest.mark.timeout(900)
async def test_services_are_upgraded_one_by_one_under_load_and_taken_back(fleet: Fleet, callers: Callers) -> None:
    await fleet.migrate(before=True)
    registries = [await fleet.start("registry", before=True, address=one) for one in fleet.registries]
    worker, router, evaluator = [await fleet.start(name, before=True) for name in ("worker", "router", "evaluator")]
    await callers.users.create()
    await callers.users.publish("v1")
    await callers.go_to(router)

    # A rollout that the release before began is judged while Registries of both are at work.
    rollout = await callers.begin("v2", "v2")
    await fleet.migrate()
    await fleet.replace(registries[0])
    assert await callers.end(rollout) == (PROMOTED, "")
    rollout = await callers.begin("v3", "v3")
    await fleet.replace(registries[1])
    assert await callers.end(rollout) == (ROLLED_BACK, "errors")

    await callers.go_to(await fleet.start("router"))
    await router.stop()
    rollout = await callers.begin("v4", "v1")
    worker = await fleet.relieve(worker, callers.users)
    assert await callers.end(rollout) == (PROMOTED, "")

    # The Evaluator's place is taken in the middle.
    rollout = await callers.begin("v5", "v4")
    evaluator = await fleet.replace(evaluator)
    assert await callers.end(rollout) == (ROLLED_BACK, "accuracy")
    rollout = await callers.begin("v6", "v2")
    assert await callers.end(rollout) == (PROMOTED, "")

    # And back again, but for the Registry.
    rollout = await callers.begin("v7", "v1")
    await fleet.replace(evaluator, before=True)
    await fleet.relieve(worker, callers.users, before=True)
    await callers.go_to(await fleet.start("router", before=True))
    assert await callers.end(rollout) == (PROMOTED, "")

    await callers.stop()
    assert [str(error) for load in callers.loads for error in load.errors] == []
    assert sum(len(load.versions) for load in callers.loads) > 1_000
    registry = callers.users.registry
    head = await registry.GetModel(service_pb2.GetModelRequest(name=f"models/{MODEL}"))
    request = service_pb2.ListEventsRequest(parent=f"models/{MODEL}", page_size=1_000)
    verify(head, (await registry.ListEvents(request)).events)
    assert [line for line in fleet.lines() if '"level": "error"' in line or '"exception"' in line] == []
