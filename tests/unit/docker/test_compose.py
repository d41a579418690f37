"""compose.yaml: it fits the services' settings, exposes nothing without TLS, and holds no secret."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic_settings import BaseSettings

from services.common.server import check_exposure, split_address
from services.common.settings import ServiceSettings

SERVING = ("registry", "router", "worker", "worker-gpu", "evaluator")
JOBS = ("database-certificates", "credentials", "database-init", "migrate")
TLS = ("CROSSFADE_TLS_CERTIFICATE", "CROSSFADE_TLS_KEY", "CROSSFADE_TLS_CA")

Containers = dict[str, dict[str, Any]]


@pytest.fixture
def made(
    containers: Containers, settings: dict[str, type[BaseSettings]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, ServiceSettings]:
    """Each serving container's settings, read from its environment as the container would."""
    found: dict[str, ServiceSettings] = {}
    for name in SERVING:
        with monkeypatch.context() as patch:
            for key, value in containers[name]["environment"].items():
                patch.setenv(key, value)
            one = settings[name]()
            assert isinstance(one, ServiceSettings)
            found[name] = one
    return found


def _volumes(container: dict[str, Any]) -> list[list[str]]:
    return [volume.split(":") for volume in container.get("volumes", [])]


def _addresses(settings: ServiceSettings) -> list[str]:
    return [address for address in (settings.listen, settings.metrics_listen) if address]


def test_every_variable_is_a_setting_of_its_service(
    containers: Containers, settings: dict[str, type[BaseSettings]]
) -> None:
    checked = 0
    for name, container in containers.items():
        for variable in container.get("environment", {}):
            assert variable.startswith("CROSSFADE_"), (name, variable)
            assert variable.removeprefix("CROSSFADE_").lower() in settings[name].model_fields, (name, variable)
            checked += 1
    assert checked > 30


@pytest.mark.parametrize("name", SERVING)
def test_nothing_listens_beyond_loopback_without_tls(name: str, made: dict[str, ServiceSettings]) -> None:
    one = made[name]
    assert one.tls
    for address in _addresses(one):
        assert address.startswith("0.0.0.0:")
        check_exposure(address, tls=one.tls)


@pytest.mark.parametrize("name", SERVING)
def test_every_file_that_a_service_reads_lies_in_a_mounted_volume(
    name: str, containers: Containers, made: dict[str, ServiceSettings]
) -> None:
    files = [value for value in made[name].model_dump().values() if isinstance(value, Path)]
    mounts = [volume[1] for volume in _volumes(containers[name])]
    assert len(files) >= len(TLS)
    for file in files:
        assert any(file.is_relative_to(mount) for mount in mounts), file


@pytest.mark.parametrize("name", SERVING)
def test_others_reach_a_service_under_its_own_name_and_port(
    name: str, containers: Containers, made: dict[str, ServiceSettings]
) -> None:
    host, port = split_address(made[name].advertise)
    assert port == split_address(made[name].listen)[1]
    networks = containers[name]["networks"]
    aliases = networks["services"]["aliases"] if isinstance(networks, dict) else []
    assert host in (name, *aliases)
    assert made[name].registry in ("registry:8400", ServiceSettings().registry)
    assert (name == "registry") == (made[name].registry != made["registry"].advertise)


def test_the_two_workers_never_run_together(containers: Containers, root: Path) -> None:
    assert containers["worker"]["profiles"] == ["cpu"]
    assert containers["worker-gpu"]["profiles"] == ["gpu"]
    assert "COMPOSE_PROFILES=cpu" in (root / "docker/.env").read_text().splitlines()
    others = [name for name, one in containers.items() if "profiles" in one and not name.startswith("worker")]
    assert others == []


def test_the_database_is_reached_by_certificate_alone(containers: Containers) -> None:
    for name, user, volume in (
        ("registry", "crossfade", "database-client"),
        ("migrate", "crossfade_migrate", "database-migrator"),
    ):
        url = urlsplit(containers[name]["environment"]["CROSSFADE_DATABASE"])
        query = parse_qs(url.query, strict_parsing=True)
        assert (url.hostname, url.port, url.username, url.password) == ("cockroach", 26257, user, None)
        assert query.pop("sslmode") == ["verify-full"]
        assert set(query) == {"sslrootcert", "sslcert", "sslkey"}
        assert all(values[0].startswith("/run/database/") for values in query.values())
        assert query["sslcert"] == [f"/run/database/client.{user}.crt"]
        owned = [source for source, *_ in _volumes(containers[name]) if source.startswith("database-")]
        # Whoever runs the Registry does not get the key of whoever may drop its tables.
        assert owned == [volume]
    server = " ".join(containers["cockroach"]["command"])
    assert "--certs-dir=" in server
    assert "insecure" not in server
    assert "--accept-sql-without-tls" not in server


def test_no_secret_stands_in_plain_text(containers: Containers, root: Path) -> None:
    for name, container in containers.items():
        for variable, value in container.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN", variable):
                assert str(value).startswith("/run/"), (name, variable)
            assert urlsplit(str(value)).password is None, (name, variable)
    for file in (root / "docker").iterdir():
        if file.is_file():
            text = file.read_text()
            assert "-----BEGIN" not in text, file
            assert not re.search(r"\b[0-9a-fA-F]{32,}\b", text), file
            assert not re.search(r"(?i)password\s*[=:]\s*\S", text), file
    ignored = (root / "docker/.gitignore").read_text().splitlines()
    assert "/secrets/" in ignored


def test_only_loopback_of_the_host_is_published(containers: Containers) -> None:
    published = [port for one in containers.values() for port in one.get("ports", [])]
    assert len(published) == 6
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in containers["cockroach"]


def test_each_container_has_its_own_credentials(containers: Containers) -> None:
    owners: dict[str, list[str]] = {}
    for name, one in containers.items():
        for source, *_ in _volumes(one):
            if source.endswith("-credentials") and name != "credentials":
                owners.setdefault(source.removesuffix("-credentials"), []).append(name)
    assert owners.pop("worker") == ["worker", "worker-gpu"]
    assert owners == {name: [name] for name in ("registry", "router", "evaluator", "prometheus")}
    given = {volume[0] for volume in _volumes(containers["credentials"])}
    assert {f"{name}-credentials" for name in (*owners, "worker")} <= given
    authority = [name for name, one in containers.items() if "database-authority" in str(one.get("volumes"))]
    assert authority == ["database-certificates"]


def test_mounted_files_and_volumes_exist(compose: dict[str, Any], containers: Containers, root: Path) -> None:
    made_by_the_reader = {"./secrets", "./artifacts"}
    for container in containers.values():
        for source, *_ in _volumes(container):
            if source.startswith("."):
                assert source in made_by_the_reader or (root / "docker" / source).is_file(), source
            else:
                assert source in compose["volumes"], source
        networks = container.get("networks", [])
        assert set(networks) <= set(compose["networks"])


def test_images_are_built_here_or_pinned(containers: Containers, root: Path) -> None:
    for name, container in containers.items():
        if "build" in container:
            assert container["build"]["context"] == ".."
            assert (root / container["build"]["dockerfile"]).is_file(), name
        tag = container["image"].rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+\.\d+", tag), (name, tag)


def test_containers_wait_for_what_they_need(containers: Containers, root: Path) -> None:
    dockerfiles = {name: root / one["build"]["dockerfile"] for name, one in containers.items() if "build" in one}
    for name, container in containers.items():
        for other, how in container.get("depends_on", {}).items():
            assert other in containers, (name, other)
            wanted = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert how == {"condition": wanted}, (name, other)
            if wanted == "service_healthy":
                own = containers[other].get("healthcheck", {}).get("test")
                assert own or "HEALTHCHECK" in dockerfiles[other].read_text(), other
    assert set(containers["registry"]["depends_on"]) == {"credentials", "migrate"}


def test_containers_are_limited_restarted_and_without_rights(containers: Containers) -> None:
    for name, container in containers.items():
        limits = container["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        # More than the machine has is refused by the engine.
        assert float(limits["cpus"]) <= 2, name
        assert container["restart"] == ("no" if name in JOBS else "unless-stopped"), name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        if name in SERVING:
            assert container["cap_drop"] == ["ALL"], name
            assert container["read_only"] is True, name
            assert "user" not in container, name


@pytest.mark.parametrize("name", SERVING)
def test_the_engine_waits_longer_than_a_service_drains(
    name: str, containers: Containers, made: dict[str, ServiceSettings]
) -> None:
    grace = containers[name]["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= 2 * made[name].drain_seconds


def test_traces_go_to_jaeger(made: dict[str, ServiceSettings], containers: Containers) -> None:
    for one in made.values():
        endpoint = urlsplit(one.otlp_endpoint)
        assert (endpoint.scheme, endpoint.hostname, endpoint.port) == ("http", "jaeger", 4317)
    assert "services" in containers["jaeger"]["networks"]


def test_the_workers_threads_fit_their_limit(containers: Containers) -> None:
    for name in ("worker", "worker-gpu"):
        threads = int(containers[name]["environment"]["CROSSFADE_VERSION_THREADS"])
        assert 1 <= threads <= float(containers[name]["deploy"]["resources"]["limits"]["cpus"])
