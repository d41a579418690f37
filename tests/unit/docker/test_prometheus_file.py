"""prometheus.yaml: it scrapes every metrics page that compose.yaml opens, over mutual TLS."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.telemetry.prometheus import OPERATIONS
from tests.support.prometheus import AbsentError, promtool

Jobs = dict[str, dict[str, Any]]


@pytest.fixture
def jobs(root: Path) -> Jobs:
    loaded = yaml.safe_load((root / "docker/prometheus.yaml").read_text())
    return {job["job_name"]: job for job in loaded["scrape_configs"]}


def test_it_names_every_metrics_page(jobs: Jobs, containers: dict[str, dict[str, Any]]) -> None:
    pages = set()
    for container in containers.values():
        environment = container.get("environment", {})
        if listen := environment.get("CROSSFADE_METRICS_LISTEN"):
            pages.add(environment["CROSSFADE_ADVERTISE"].rpartition(":")[0] + ":" + listen.rpartition(":")[2])
    targets = [target for group in jobs["crossfade"]["static_configs"] for target in group["targets"]]
    assert pages == {"registry:9400", "router:9500", "worker:9600", "evaluator:9700"}
    assert sorted(targets) == sorted(pages)


def test_it_does_not_scrape_the_evidence(jobs: Jobs) -> None:
    assert jobs["crossfade"]["metrics_path"] == OPERATIONS


def test_it_shows_a_certificate_from_its_volume(jobs: Jobs, containers: dict[str, dict[str, Any]]) -> None:
    assert jobs["crossfade"]["scheme"] == "https"
    tls = jobs["crossfade"]["tls_config"]
    assert set(tls) == {"ca_file", "cert_file", "key_file"}
    assert all(Path(file).parent == Path("/run/crossfade") for file in tls.values())
    assert "prometheus-credentials:/run/crossfade:ro" in containers["prometheus"]["volumes"]


def test_its_rules_are_mounted_beside_it(root: Path, containers: dict[str, dict[str, Any]]) -> None:
    files = yaml.safe_load((root / "docker/prometheus.yaml").read_text())["rule_files"]
    assert files == ["alerts.yaml"]
    for name in ("prometheus.yaml", *files):
        assert f"./{name}:/etc/prometheus/{name}:ro" in containers["prometheus"]["volumes"]


def test_promtool_accepts_it(root: Path) -> None:
    try:
        command = [str(promtool()), "check", "config", "--syntax-only", str(root / "docker/prometheus.yaml")]
    except AbsentError as error:
        pytest.skip(str(error))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
