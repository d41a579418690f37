"""What callers notice when something is killed: nothing."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from tests.e2e.conftest import House, Load
from tests.support.wait import until_async

_AWAY_SECONDS = 60.0


def version_processes(house: House) -> Iterator[psutil.Process]:
    """The Worker's processes that serve versions: those that listen."""
    for process in psutil.Process(house.stack.processes["worker"].pid).children(recursive=True):
        if any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp")):
            yield process


async def address_of(house: House, version: str) -> str:
    """Where a version is served, by the Registry's word."""
    answer = await house.registry.ListInstances(
        service_pb2.ListInstancesRequest(kind=resources_pb2.INSTANCE_KIND_WORKER)
    )
    for instance in answer.instances:
        for serving in instance.serving:
            live = serving.traffic == model_pb2.TRAFFIC_LIVE
            if live and serving.version == version and serving.state == resources_pb2.SERVING_STATE_READY:
                return str(serving.address)
    return ""


async def kill_version(house: House, version: str) -> None:
    """SIGKILLs the process that serves a version."""
    port = int((await address_of(house, version)).rpartition(":")[2])
    for process in version_processes(house):
        if any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == "LISTEN"):
            os.kill(process.pid, signal.SIGKILL)
            return
    raise AssertionError(f"no process listens on {port}")


@pytest.mark.timeout(240)
async def test_a_versions_process_killed_under_load_fails_no_call(house: House) -> None:
    published = await house.publish("v2")
    await house.until_state(published.rollout.name, resources_pb2.ROLLOUT_STATE_RUNNING)
    load = Load(house.client, rate=100)
    await until_async(lambda: _answered(load, "v2"), seconds=30)
    await kill_version(house, "v2")
    before = len(load.versions)
    await until_async(lambda: _more(load, before + 100), seconds=30)
    await kill_version(house, "v1")
    before = len(load.versions)
    await until_async(lambda: _more(load, before + 300), seconds=60)
    # A second time within minutes: stable is started again all the same.
    await until_async(lambda: address_of(house, "v1"), seconds=30)
    await kill_version(house, "v1")
    before = len(load.versions)
    await until_async(lambda: _more(load, before + 300), seconds=60)
    calls = await load.stop()
    assert load.errors == []
    assert len(load.versions) == calls


@pytest.mark.timeout(240)
async def test_the_registry_killed_for_a_minute_under_load_fails_no_call(house: House) -> None:
    load = Load(house.client, rate=50)
    registry = house.stack.processes["registry"]
    registry.kill()
    await registry.wait()
    await until_async(lambda: _more(load, int(50 * _AWAY_SECONDS)), seconds=2 * _AWAY_SECONDS)
    await registry.start()
    await registry.ready()
    published = await house.publish("v2")
    await house.until_state(published.rollout.name, resources_pb2.ROLLOUT_STATE_RUNNING)
    await until_async(lambda: _answered(load, "v2"), seconds=30)
    calls = await load.stop()
    assert load.errors == []
    assert len(load.versions) == calls


async def _answered(load: Load, version: str) -> bool:
    return version in load.versions


async def _more(load: Load, count: int) -> bool:
    return len(load.versions) >= count
