"""Clients in forked processes and in several event loops, as servers of backends use them."""

import asyncio
import copy
import multiprocessing
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor

import grpc
import numpy as np
import pytest

from crossfade.client import AsyncClient, Client, ClientClosedError, PredictError
from tests.integration.sdk.answering import House
from tests.integration.sdk.forking import version, version_of_asyncio

ROWS = np.zeros((1, 2), dtype=np.float32)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    await made.start()
    yield made
    await made.stop()


async def forking(house: House, how: str, children: int, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.sdk.forking", how, house.address, str(children)),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def forked(house: House, how: str, children: int = 2, **environment: str) -> list[str]:
    """What parent and children say."""
    process = await forking(house, how, children, **environment)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().splitlines()


async def test_a_client_that_was_made_before_the_fork_is_for_each_child(house: House) -> None:
    assert await forked(house, "before_any_call") == ["child: v1"] * 2


async def test_a_client_that_was_used_before_the_fork_is_for_each_child_and_the_parent(house: House) -> None:
    said = await forked(house, "after_a_call")
    assert sorted(said) == ["child: v1", "child: v1", "parent: v1"]


async def test_a_child_that_was_forked_amid_calls_waits_for_no_lock_of_its_parent(house: House) -> None:
    assert await forked(house, "amid_calls", children=30) == ["child: v1"] * 30


async def test_a_first_call_imports_nothing_that_a_child_could_wait_for(house: House) -> None:
    assert await forked(house, "without_imports", children=1) == ["child: v1", "parent: v1"]


async def test_a_child_that_was_forked_amid_a_long_call_says_what_to_do(house: House) -> None:
    house.service.silent.set()
    process = await forking(house, "amid_a_long_call", 1)
    while not house.service.calls:
        await asyncio.sleep(0.01)
    said, _ = await process.communicate(b"\n")
    assert said.startswith(b"child: ClientForkedError: this process was forked amid calls: make no call before")


async def test_where_grpc_is_told_to_do_nothing_at_a_fork_a_childs_calls_say_so(house: House) -> None:
    said = await forked(house, "after_a_call", children=10, GRPC_ENABLE_FORK_SUPPORT="No")
    assert said[-1] == "parent: v1"
    assert len(set(said)) == 2
    assert said[0].startswith("child: ClientForkedError: this process was forked while gRPC was in use, which hangs")
    assert "GRPC_ENABLE_FORK_SUPPORT off (unset it): make no call" in said[0]
    assert 'get_context("spawn")' in said[0]


async def test_where_grpc_hangs_in_a_child_for_another_librarys_calls_the_clients_calls_say_so(house: House) -> None:
    # Its threads are not there in the child, where it has been told to do nothing at a fork.
    (said,) = await forked(house, "after_anothers_call", children=1, GRPC_ENABLE_FORK_SUPPORT="0")
    assert said.startswith("child: ClientForkedError: this process was forked while gRPC was in use, which hangs since")


async def test_before_its_first_call_a_client_has_begun_nothing_that_a_fork_could_break(house: House) -> None:
    assert await forked(house, "before_any_call", GRPC_ENABLE_FORK_SUPPORT="0") == ["child: v1"] * 2


async def test_a_child_of_asyncio_says_what_to_do(house: House) -> None:
    said = await forked(house, "under_asyncio")
    assert said.count("parent: v1") == 2
    children = [line for line in said if line.startswith("child")]
    assert len(children) == 2
    assert all("ClientForkedError: this process was forked while an AsyncClient was in use" in one for one in children)


async def test_an_async_client_that_was_made_before_the_fork_is_for_each_child(house: House) -> None:
    said = await forked(house, "before_asyncio")
    assert sorted(said) == ["child: v1", "child: v1", "parent: v1"]


async def test_one_async_client_is_for_the_loops_of_all_threads(house: House) -> None:
    client = AsyncClient(house.address)

    async def several() -> list[str]:
        return [(await client.predict("churn", ROWS)).version for _ in range(20)]

    answers = await asyncio.gather(several(), *(asyncio.to_thread(asyncio.run, several()) for _ in range(3)))
    assert answers == [["v1"] * 20] * 4
    # The loops of these threads are closed, and the next one's is another.
    assert await asyncio.to_thread(asyncio.run, several()) == ["v1"] * 20
    await client.close()


async def test_an_async_client_is_closed_for_the_loops_of_all_threads(house: House) -> None:
    house.service.silent.set()
    client = AsyncClient(house.address, timeout=60.0)

    async def one() -> None:
        with pytest.raises(ClientClosedError):
            await client.predict("churn", ROWS)

    there = threading.Thread(target=asyncio.run, args=(one(),))
    there.start()
    here = asyncio.create_task(one())
    while house.service.calls < 2:
        await asyncio.sleep(0.01)
    await client.close()
    await here
    await asyncio.to_thread(there.join)


async def test_a_client_that_is_handed_to_a_spawned_process_is_one_of_the_same_router_there(house: House) -> None:
    client = Client(house.address, timeout=20.0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(pool, version, client) == "v1"
        assert await loop.run_in_executor(pool, version_of_asyncio, AsyncClient(house.address)) == "v1"
        house.service.codes = [grpc.StatusCode.INTERNAL]
        with pytest.raises(PredictError) as there:
            await loop.run_in_executor(pool, version, client)
        assert there.value.code is grpc.StatusCode.INTERNAL
    client.close()
    with pytest.raises(ClientClosedError):
        copy.copy(client)
