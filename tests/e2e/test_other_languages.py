"""docs/other-languages.md: its clients are what the page says, and Node's is run as it stands where there is Node."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package
from tests.e2e.test_up import CROSSFADE, Up, port_block

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "other-languages.md"
BLOCK = re.compile(r"^```js\n// (\S+\.js)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONTRACT = ROOT / "protos" / "crossfade" / "predict" / "v1" / "predict.proto"


def test_the_contract_of_callers_can_be_copied_alone() -> None:
    assert "\nimport " not in CONTRACT.read_text()


def node() -> str:
    """Node.js, where the page's packages are there for it."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not on PATH")
    needed = "for (const name of ['@grpc/grpc-js', '@grpc/proto-loader', 'protobufjs']) require.resolve(name)"
    if subprocess.run([found, "-e", needed], cwd="/", capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("@grpc/grpc-js, @grpc/proto-loader and protobufjs are not in a folder that NODE_PATH names")
    return found


@pytest.mark.timeout(300)
async def test_the_client_in_node_runs_as_it_stands(tmp_path: Path) -> None:
    runner = node()
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(size=(64, 30)).astype(np.float32)
    package(nn.Linear(30, 2), example=rows, reference=rows, classes=["malignant", "benign"], to=tmp_path / "tumour")
    port = port_block()
    up = Up(tmp_path / "data", port)
    await up.ready()
    where = {"CROSSFADE_REGISTRY": f"localhost:{port - 100}", "CROSSFADE_ROUTER": f"localhost:{port}"}

    async def run(*command: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=tmp_path,
            env={**os.environ, **where},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    await run(CROSSFADE, "publish", "tumour", "tumour", "--wait")
    shutil.copy(CONTRACT, tmp_path)
    for name, content in BLOCK.findall(PAGE.read_text()):
        # The services of the test listen elsewhere than those of a reader.
        (tmp_path / name).write_text(content.replace("localhost:8500", f"localhost:{port}"))
    said = await run(runner, "call.js")
    assert said.startswith("v1 [ '2', '2' ] Float32Array(4)"), said
    for line in (
        "STATUS_ACCEPTED",
        "STATUS_REFUSED 'unclear' is not a class of tumour: malignant, benign",
        "3 input 'input' takes FP32, not 'FP64'",
        "reason: 'INPUT_DTYPE'",
        "field: 'inputs[0].datatype'",
    ):
        assert line in said, said
    up.process.terminate()
    up.process.wait(60)
