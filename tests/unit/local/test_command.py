"""`crossfade up`: what is refused before anything starts."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from crossfade.cli.errors import CommandError
from services.local import stack
from services.local.command import is_up, up
from services.local.folder import DataFolder
from services.local.stack import Ports


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(up)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("written", ["CROSSFADE_MONITOR_SECONDS", "MONITOR_SECONDS=10", "=10"])
def test_what_is_no_setting_is_refused_before_anything_starts(written: str) -> None:
    found = invoke("--set", written)
    assert found.exit_code == 2
    assert "is no setting" in found.output


def test_a_misspelt_setting_is_refused_and_the_one_that_is_meant_is_named() -> None:
    found = invoke("--set", "CROSSFADE_MONITOR_SECOND=5")
    words = " ".join(found.output.replace("│", " ").split())
    assert found.exit_code == 2
    assert "no service has a setting CROSSFADE_MONITOR_SECOND: did you mean CROSSFADE_MONITOR_SECONDS?" in words


def test_one_address_for_all_services_is_refused_and_the_option_that_says_theirs_is_named() -> None:
    found = invoke("--set", "CROSSFADE_LISTEN=127.0.0.1:9000")
    words = " ".join(found.output.replace("│", " ").split())
    assert found.exit_code == 2
    assert "would give all services one address: --port N says where they listen" in words


def test_on_other_ports_it_says_how_the_command_finds_them(tmp_path: Path) -> None:
    assert "export" not in is_up(Ports(), tmp_path)
    assert is_up(Ports(18400, 18500, 18600, 18700), tmp_path).splitlines() == [
        "Crossfade is up. Publish with `crossfade publish MODEL DIR`, call 127.0.0.1:18500; Ctrl-C ends all.",
        "In the terminal of the command, whose own ports are others, first:",
        "  export CROSSFADE_REGISTRY=127.0.0.1:18400",
        "  export CROSSFADE_ROUTER=127.0.0.1:18500",
        "  export CROSSFADE_EVALUATOR=127.0.0.1:18700",
        f"Everything is kept in {tmp_path.resolve()}.",
    ]


@pytest.mark.parametrize("port", ["0", "100", "65336"])
def test_a_port_that_leaves_none_for_the_others_is_refused(port: str) -> None:
    found = invoke("--port", port)
    assert found.exit_code == 2
    assert "or equal to" in found.output


def test_a_file_of_webhooks_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for where in (tmp_path / "nowhere.toml", tmp_path):
        found = invoke("--webhooks", str(where)).exception
        assert isinstance(found, CommandError)
        assert (found.exit_code, found.message) == (1, f"--webhooks: {where} is no file")


def test_a_data_folder_that_cannot_be_one_is_named_with_the_option_that_says_another(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    for data, why in ((taken, "File exists"), (taken / "below", "Not a directory")):
        found = invoke("--data", str(data)).exception
        assert isinstance(found, CommandError)
        assert found.message == f"{data} cannot be used: {why}; choose a folder that can be written, with --data"


@pytest.fixture
def taken_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A Router's port that another process has, and that nobody waits for."""
    monkeypatch.setattr(stack, "_PORT_SECONDS", 0.0)
    while True:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = int(other.getsockname()[1])
            if 101 <= port <= 65_335 and all(_free(port + step) for step in (-100, 100, 200)):
                yield port
                return


def _free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_a_port_in_use_leaves_no_folder_where_there_was_none(tmp_path: Path, taken_port: int) -> None:
    data = tmp_path / "new" / "data"
    found = invoke("--data", str(data), "--port", str(taken_port)).exception
    assert isinstance(found, CommandError)
    assert found.message.startswith(f"port {taken_port} on 127.0.0.1 is in use by another process")
    assert not list(tmp_path.iterdir())


def test_another_stack_on_the_folder_is_named_before_its_ports_are(tmp_path: Path, taken_port: int) -> None:
    with DataFolder(tmp_path):
        found = invoke("--data", str(tmp_path), "--port", str(taken_port)).exception
    assert isinstance(found, CommandError)
    assert found.message.startswith(f"another `crossfade up` runs on {tmp_path}: end it, or choose another folder")
