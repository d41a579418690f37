"""`crossfade up`: what is refused before anything starts."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from services.local.command import up


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


@pytest.mark.parametrize("port", ["0", "100", "65336"])
def test_a_port_that_leaves_none_for_the_others_is_refused(port: str) -> None:
    found = invoke("--port", port)
    assert found.exit_code == 2
    assert "or equal to" in found.output


def test_a_file_of_webhooks_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = invoke("--webhooks", str(tmp_path / "nowhere.toml"))
    assert found.exit_code == 2
    assert "does not exist" in found.output
