"""grafana/crossfade.json: every panel asks for what the services export, in expressions that Prometheus understands."""

import configparser
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import AbsentError, promtool
from tests.support.series import exported, named

Panels = list[dict[str, Any]]


@pytest.fixture
def dashboard(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((root / "docker/grafana/crossfade.json").read_text())
    return loaded


@pytest.fixture
def panels(dashboard: dict[str, Any]) -> Panels:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_series_that_a_panel_names_is_exported_with_these_labels(panels: Panels) -> None:
    known = exported()
    for panel in panels:
        for target in panel["targets"]:
            found = list(named(target["expr"]))
            assert found, panel["title"]
            for series, labels in found:
                assert series in known, (panel["title"], series)
                assert labels <= known[series], (panel["title"], series, labels - known[series])


def test_each_panel_has_a_place_a_unit_and_legends(dashboard: dict[str, Any], panels: Panels) -> None:
    assert len(panels) >= 13
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_it_uses_the_data_source_that_is_provisioned(
    root: Path, dashboard: dict[str, Any], panels: Panels, containers: dict[str, dict[str, Any]]
) -> None:
    (source,) = yaml.safe_load((root / "docker/grafana/datasource.yaml").read_text())["datasources"]
    used = [panel["datasource"] for panel in panels] + [one["datasource"] for one in dashboard["templating"]["list"]]
    assert all(one == {"type": source["type"], "uid": source["uid"]} for one in used)
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((root / "docker/grafana/dashboards.yaml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in containers["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/crossfade.json" in mounted


def test_nobody_signs_in_to_grafana(root: Path) -> None:
    """It comes with a user whose password everybody knows."""
    settings = configparser.ConfigParser()
    settings.read(root / "docker/grafana/grafana.ini")
    assert settings["security"].getboolean("disable_initial_admin_creation")
    assert settings["auth"].getboolean("disable_login_form")
    assert not settings["auth.basic"].getboolean("enabled")
    assert settings["auth.anonymous"]["org_role"] == "Viewer"


def test_prometheus_understands_every_expression(panels: Panels, tmp_path: Path) -> None:
    try:
        tool = promtool()
    except AbsentError as error:
        pytest.skip(str(error))
    # As Grafana fills them in.
    expressions = [
        target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*")
        for panel in panels
        for target in panel["targets"]
    ]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([str(tool), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
