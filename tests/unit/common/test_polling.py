"""How gRPC's core is told to wait for sockets."""

import os
import subprocess
import sys

import pytest

from services.common import polling

_SERVE = """
import asyncio
from grpc import aio

async def serve():
    server = aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await server.stop(None)

asyncio.run(serve())
"""


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)


def test_what_grpc_is_told_it_knows() -> None:
    assert "Unknown experiment" in _run(_SERVE, **{polling.VARIABLE: "-no_such_thing"}).stderr
    assert "Unknown experiment" not in _run(_SERVE, **{polling.VARIABLE: polling.IN_PLACE}).stderr


@pytest.mark.parametrize(("before", "after"), [(None, polling.IN_PLACE), ("", ""), ("-some", "-some")])
def test_what_the_environment_says_goes_before(before: str | None, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(polling.VARIABLE, before or "")
    if before is None:
        monkeypatch.delenv(polling.VARIABLE)
    polling.poll_in_place()
    assert os.environ[polling.VARIABLE] == after


def test_a_router_is_told_before_it_imports_grpc() -> None:
    said = _run("import sys, router.__main__; print('grpc' in sys.modules, callable(router.__main__.main))").stdout
    assert said.split() == ["False", "True"]
