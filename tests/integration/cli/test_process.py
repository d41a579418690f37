"""The command as a process: what it imports, Ctrl-C, pipes."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossfade.cli.app import build
from tests.integration.cli.stack import Stack
from tests.support.signals import obeyed


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from crossfade.cli.app import build\n"
        "try:\n"
        "    build()(['--help'])\n"
        "finally:\n"
        "    sys.stderr.write(','.join(sorted({'torch', 'numpy', 'sqlalchemy'} & set(sys.modules))))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    for name in ("profile", "publish", "status", "explain", "feedback", "up", "certs", "policy"):
        assert f"  {name} " in ended.stdout


@pytest.mark.parametrize("name", ["up", "registry"])
def test_the_commands_of_the_services_have_the_same_help(name: str) -> None:
    for option in ("-h", "--help"):
        shown = CliRunner().invoke(build(), [name, option])
        assert (shown.exit_code, f"Usage: crossfade {name} " in shown.stdout) == (0, True)


def test_ctrl_c_ends_a_watch_quietly(stack: Stack, artifact: Path) -> None:
    published = CliRunner().invoke(build(), ["--registry", stack.registry, "publish", "in-sight", str(artifact)])
    assert published.exit_code == 0, published.output
    command = [sys.executable, "-m", "crossfade.cli", "status", "in-sight", "--watch", "--interval", "200ms"]
    environment = {**os.environ, "CROSSFADE_REGISTRY": stack.registry, "CROSSFADE_ROUTER": stack.router}
    with (
        obeyed(signal.SIGINT),
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert first.startswith("in-sight · ")
    assert (process.returncode, errors) == (130, "")


def test_a_watch_that_is_ended_gives_the_terminal_its_cursor_back(stack: Stack, artifact: Path) -> None:
    published = CliRunner().invoke(build(), ["--registry", stack.registry, "publish", "on-screen", str(artifact)])
    assert published.exit_code == 0, published.output
    command = [sys.executable, "-m", "crossfade.cli", "status", "on-screen", "--watch", "--interval", "200ms"]
    addresses = {"CROSSFADE_REGISTRY": stack.registry, "CROSSFADE_ROUTER": stack.router}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, env={**os.environ, **addresses, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        shown = b""
        while b"STABLE" not in shown:
            shown += os.read(ours, 65_536)
        process.terminate()
        with contextlib.suppress(OSError):  # The last reader's end of it is an error.
            while more := os.read(ours, 65_536):
                shown += more
        _, errors = process.communicate(timeout=20)
    os.close(ours)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, b"")
    hidden, back = b"\x1b[?25l", b"\x1b[?25h"
    assert shown.rindex(back) > shown.rindex(hidden)


def test_ctrl_c_while_it_loads_ends_it_quietly() -> None:
    code = (
        "import os, signal, sys\n"
        "from crossfade.cli.__main__ import main\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'crossfade.cli.app':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "main()\n"
    )
    with obeyed(signal.SIGINT):
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_a_terminal_of_few_characters_gets_all_the_same(stack: Stack, artifact: Path) -> None:
    published = CliRunner().invoke(build(), ["--registry", stack.registry, "publish", "narrow", str(artifact)])
    assert published.exit_code == 0, published.output
    command = [sys.executable, "-m", "crossfade.cli", "--registry", stack.registry, "status", "narrow"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.startswith(b"narrow | ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_an_output_without_room_is_said_and_no_fault_of_the_command(stack: Stack, more: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "crossfade.cli", "events", "--registry", stack.registry, *more]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    problem = "what was to be written cannot be: No space left on device"
    said = json.loads(ended.stderr)["error"]["message"] if more else ended.stderr.removeprefix("error: ").rstrip()
    assert (ended.returncode, said) == (1, problem)


def test_a_reader_that_has_had_enough_is_no_failure_with_a_traceback(stack: Stack) -> None:
    command = [sys.executable, "-m", "crossfade.cli", "events", "--json", "--registry", stack.registry]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(20)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
