"""`crossfade up`: what is refused before anything starts."""

import pytest
import typer
from typer.testing import CliRunner

from services.local.command import up


@pytest.mark.parametrize("written", ["CROSSFADE_MONITOR_SECONDS", "MONITOR_SECONDS=10", "=10"])
def test_what_is_no_setting_is_refused_before_anything_starts(written: str) -> None:
    app = typer.Typer()
    app.command()(up)
    found = CliRunner().invoke(app, ["--set", written])
    assert found.exit_code == 2
    assert "is no setting" in found.output
