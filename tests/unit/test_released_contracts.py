"""What callers of the release before send and read is still in the contracts, under its number, name and type."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOS = ROOT / "protos"
RELEASED = ROOT / "tests" / "released" / "contracts.binpb"
SERVICE = "crossfade/registry/v1/service.proto"


def broken(protos: Path) -> str:
    """What is broken of the released contracts, a line for each; nothing: empty."""
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    assert buf is not None, "buf is not installed: pip install -e '.[dev]'"
    done = subprocess.run(
        [buf, "breaking", protos, "--against", RELEASED], capture_output=True, text=True, timeout=60, check=False
    )
    # 100: something is broken; anything else: buf could not look.
    assert done.returncode in (0, 100), done.stderr
    assert (done.returncode == 0) == (done.stdout == "")
    return done.stdout


def test_nothing_that_was_released_is_broken() -> None:
    assert broken(PROTOS) == ""


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [
        (SERVICE, r"string etag = 5;", "string etag = 15;", 'field "5" with name "etag"'),
        (SERVICE, r"bool without_rollout = 6;", "reserved 6;", 'field "6" with name "without_rollout"'),
        (SERVICE, r"bool without_rollout = 6;", "bool without = 6;", "name"),
        (SERVICE, r"bool without_rollout = 6;", "string without_rollout = 6;", "type"),
        (SERVICE, r"rpc UndoLane\(.*;", "", '"UndoLane"'),
    ],
    ids=["renumbered", "removed", "renamed", "retyped", "an RPC less"],
)
def test_what_would_break_them_is_found(tmp_path: Path, file: str, before: str, after: str, said: str) -> None:
    protos = tmp_path / "protos"
    shutil.copytree(PROTOS, protos)
    text, changes = re.subn(before, after, (protos / file).read_text(), count=1)
    assert changes == 1
    (protos / file).write_text(text)
    assert said in broken(protos)
