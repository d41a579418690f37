"""docs/getting-started.md, run as it stands."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.test_up import Up, port_block

PAGE = Path(__file__).parents[2] / "docs" / "getting-started.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(page: str) -> list[tuple[str, str]]:
    """The page's blocks in their order: ("file name", content) or ("", commands)."""
    found = []
    for kind, content in BLOCK.findall(page):
        if kind == "console":
            commands = [line.removeprefix("$ ") for line in content.splitlines() if line.startswith("$ ")]
            found.append(("", "\n".join(commands)))
        else:
            found.append((content.splitlines()[0].removeprefix("# "), content))
    return found


@pytest.mark.timeout(600)
async def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    port = port_block()
    up = Up(tmp_path / "data", port)
    await up.ready()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CROSSFADE_REGISTRY": f"localhost:{port - 100}",
        "CROSSFADE_ROUTER": f"localhost:{port}",
        "CROSSFADE_EVALUATOR": f"localhost:{port + 200}",
    }
    script = ["set -e"]
    for name, content in steps(PAGE.read_text()):
        if name:
            # The services of the test listen elsewhere than those of a reader.
            (tmp_path / name).write_text(content.replace("localhost:8500", f"localhost:{port}"))
        elif content != "crossfade up":
            script.append(content)
    script.append("wait")
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    why = (tmp_path / "why.txt").read_text()
    assert re.search(r"v3 was ROLLED BACK .* for accuracy", why), said
    assert said.count("the last one answered by v2") == 2, said
    assert up.process.poll() is None
    up.process.terminate()
    up.process.wait(60)
