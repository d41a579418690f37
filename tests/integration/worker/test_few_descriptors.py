"""A Worker that may open too few files for a version: it says so, and the version is not blamed."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until

_START: Final = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_NOFILE, (%d, %d))
runpy.run_module("services.worker", run_name="__main__")
"""


@pytest.mark.parametrize(("limit", "front_ends", "needed"), [(28, 2, 56), (40, 8, 80)])
async def test_what_is_missing_is_told_and_no_version_fails_of_it(
    registry: FakeRegistry, artifacts: Any, want: Any, tmp_path: Path, limit: int, front_ends: int, needed: int
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    settings = {
        "CROSSFADE_LISTEN": "127.0.0.1:0",
        "CROSSFADE_REGISTRY": registry.address,
        "CROSSFADE_ARTIFACT_CACHE": str(tmp_path / "cache"),
        "CROSSFADE_FRONT_ENDS": str(front_ends),
        "CROSSFADE_DEVICE": "cpu",
        "CROSSFADE_LOG_LEVEL": "error",
        "CROSSFADE_DRAIN_SECONDS": "0",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _START % (limit, limit), env={**os.environ, **settings}
    )
    try:

        def said() -> str:
            serving = registry.serving("scores", "v1")
            return "" if serving is None else serving.error_code + serving.error

        await until(lambda: said() != "", seconds=90)
        assert said() == (
            f"its process cannot be started: each of its processes needs {needed} file descriptors and may have "
            f"{limit}: the Worker needs more file descriptors than it may have (ulimit -n)"
        )
        assert registry.state("scores", "v1") == "LOADING"
    finally:
        process.terminate()
        await process.wait()
