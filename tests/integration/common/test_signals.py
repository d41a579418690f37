"""Which signals a service ends by in good order."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support.signals import obeyed

SERVICE = """
import asyncio
from services.common.server import run_until_signal
from services.common.telemetry.logs import make_log

async def start():
    print("started", flush=True)

async def stop():
    print("stopped", flush=True)

asyncio.run(run_until_signal(start, stop, make_log("test", "info")))
"""


def started() -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda one: one.name)
def test_a_service_that_is_told_to_end_stops(number: signal.Signals) -> None:
    with obeyed(number), started() as process:
        process.send_signal(number)
        out, log = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stopped\n")
    assert json.loads(log.splitlines()[0])["signal"] == number.name


def test_a_service_that_is_to_outlive_its_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = started()
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "stopped\n")
    assert json.loads(log.splitlines()[0])["signal"] == "SIGTERM"
