"""What a call says beside its inputs."""

import asyncio
import math
from typing import Any

import grpc
import numpy as np
import pytest

from crossfade import metadata
from crossfade.answers import PredictError
from crossfade.calling import Caller
from crossfade.client import AsyncClient, Client


class Sayings(Caller):
    """Shows what calls would say."""

    def key(self, key: Any) -> str:
        return dict(self._metadata("churn", key, "", ""))[metadata.KEY]

    def version(self, version: Any) -> str:
        return dict(self._metadata("churn", "", "", version))[metadata.VERSION]


CALLER = Sayings("localhost:8500", None, 1.0, "tester")


@pytest.mark.parametrize(("key", "said"), [("42", "42"), (42, "42"), (0, "0"), (-1, "-1"), (np.int64(7), "7")])
def test_a_number_is_the_key_of_its_digits(key: object, said: str) -> None:
    assert CALLER.key(key) == said


@pytest.mark.parametrize("key", [4.0, True, None, b"42"])
def test_other_keys_are_refused_by_name(key: object) -> None:
    with pytest.raises(TypeError, match="is neither a text nor a whole number"):
        CALLER.key(key)


def test_a_version_is_a_text() -> None:
    with pytest.raises(TypeError, match="version 3 is no text"):
        CALLER.version(3)


def test_the_version_whose_classes_are_asked_for_is_a_text() -> None:
    version: Any = 3
    with Client("localhost:8500") as client, pytest.raises(TypeError, match=r"^version 3 is no text: give a str$"):
        client.classes("churn", version=version)

    async def ask() -> None:
        async with AsyncClient("localhost:8500") as client:
            await client.classes("churn", version=version)

    with pytest.raises(TypeError, match=r"^version 3 is no text: give a str$"):
        asyncio.run(ask())


@pytest.mark.parametrize("timeout", ["5", None, [5.0]])
def test_a_timeout_is_a_number(timeout: Any) -> None:
    with pytest.raises(TypeError, match="is no number: write seconds"):
        Caller("localhost:8500", None, timeout, "tester")


def test_a_timeout_that_is_not_a_number_of_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN: write seconds"):
        Caller("localhost:8500", None, math.nan, "tester")


@pytest.mark.parametrize("timeout", [0, -1.5, -math.inf])
def test_a_client_gives_its_calls_some_time(timeout: float) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=rf"^timeout {timeout:g} leaves no call any time: write seconds, as 2.5"):
            kind("localhost:8500", timeout=timeout)


@pytest.mark.parametrize("timeout", [0, -1.5])
def test_a_call_whose_time_is_over_says_so_and_blames_no_router(timeout: float) -> None:
    """What is left of a caller's own time may be nothing."""
    said = f"nothing was asked, for the call's timeout of {timeout:g} s leaves no time for an answer"
    rows = np.zeros((1, 4), np.float32)

    async def ask() -> None:
        async with AsyncClient("localhost:8500") as client:
            await client.predict("churn", rows, timeout=timeout)

    async def listen() -> None:
        async with AsyncClient("localhost:8500") as client:
            async for _ in client.predict_stream("churn", rows, timeout=timeout):
                pass

    with Client("localhost:8500") as client:
        for call in (
            lambda: client.predict("churn", rows, timeout=timeout),
            lambda: list(client.predict_stream("churn", rows, timeout=timeout)),
            lambda: asyncio.run(ask()),
            lambda: asyncio.run(listen()),
        ):
            with pytest.raises(PredictError) as caught:
                call()
            assert (caught.value.code, caught.value.message) == (grpc.StatusCode.DEADLINE_EXCEEDED, said)
