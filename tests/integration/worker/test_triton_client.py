"""tritonclient, as it comes, against a Worker's version and against a Router."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.app import App as Router
from tests.fakes.models import expected_scores, reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.routed import route

CALLS = Path(__file__).parents[2] / "support" / "triton_calls.py"


async def calls_of(address: str, rows: Any, folder: Path) -> dict[str, Any]:
    """What its client was answered there."""
    np.save(folder / "rows.npy", rows)
    command = [sys.executable, str(CALLS), address, "scores", str(folder / "rows.npy"), "streams"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("through", ["worker", "router"])
async def test_tritonclient_works_as_it_comes(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    router: Router,
    artifacts: Any,
    want: Any,
    tmp_path: Path,
    through: str,
) -> None:
    stable, rows = want(artifacts()), reference_rows(3)
    await registry.set_lanes(lane("scores", stable))
    await start_worker()
    await caller_of("v1")
    await route(registry, router, {"stable": stable})
    serving = registry.serving("scores", "v1")
    assert serving is not None
    found = await calls_of(router.address if through == "router" else serving.address, rows, tmp_path)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, [True, False])
    assert found["server"] == "crossfade"
    assert found["inputs"] == [["input", "FP32", [-1, 4]]]
    for how in ("scores", "asked", "called_back", "awaited"):
        np.testing.assert_allclose(found[how], expected_scores(rows), rtol=1e-5)
    assert found["refused"] == ["StatusCode.INVALID_ARGUMENT", "input 'input' takes FP32, not 'FP64'"]
    for number, scores in enumerate(found["streamed"]):
        np.testing.assert_allclose(scores, expected_scores(rows + np.float32(number)), rtol=1e-5)
    assert len(found["streamed"]) == 3
