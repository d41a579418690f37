"""Folders with names beyond ASCII, where the environment's encoding is ASCII."""

import asyncio
import os
import sys
from pathlib import Path

from services.local.stack import Ports

_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


async def test_a_folder_that_the_encoding_cannot_name_is_said_with_what_to_do(tmp_path: Path) -> None:
    port = str(Ports.free().router)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crossfade.cli", "up", "--data", str(tmp_path / "Größe 1"), "--port", port),
        env={**os.environ, **_ASCII},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"LC_ALL=C.UTF-8 before the command" in said
