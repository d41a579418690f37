"""File descriptors: as many as allowed, and a warning that names the remedy before none is left."""

import io
import json
import subprocess
import sys
from typing import Any

from services.common.descriptors import Descriptors
from services.common.telemetry.logs import make_log


def said(used: int, limit: int, looks: int = 1) -> list[dict[str, Any]]:
    file = io.StringIO()
    descriptors = Descriptors(make_log("test", "warning", file), lambda: used, lambda: limit)
    for _ in range(looks):
        descriptors.look()
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_few_that_are_left_are_warned_of_once_a_minute() -> None:
    (line,) = said(used=95, limit=100, looks=3)
    assert (line["event"], line["used"], line["limit"]) == ("few file descriptors are left", 95, 100)
    assert "ulimit -n" in line["advice"]


def test_nobody_is_warned_while_there_are_many_or_where_the_system_tells_nothing() -> None:
    assert said(used=80, limit=100) == []
    assert said(used=0, limit=0) == []
    # RLIM_INFINITY.
    assert said(used=95, limit=-1) == []


def run(code: str) -> str:
    """What a process of its own prints: its limits are not this one's."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_service_takes_as_many_as_the_system_allows() -> None:
    code = """
import resource
from services.common.descriptors import raise_limit
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 400))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    assert run(code) == "400 400\n400 400"


def test_where_none_is_left_to_look_with_all_are_used() -> None:
    code = """
import os, resource
from services.common.descriptors import used
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
before = used()
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    print(before < 50, used())
"""
    assert run(code) == "True 100"
