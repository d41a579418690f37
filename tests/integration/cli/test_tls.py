"""The command over mutual TLS, with the certificates that it makes itself."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from crossfade.cli.app import build
from crossfade.client import Client
from crossfade.connection import TlsFiles, open_channel
from crossfade.errors import details_of
from crossfade.registry.v1 import resources_pb2, service_pb2, service_pb2_grpc
from registry.app import App
from registry.settings import RegistrySettings
from tests.integration.cli.stack import Stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    result = CliRunner().invoke(build(), ["certs", "dev", "--to", str(tmp_path / "tls")])
    assert result.exit_code == 0, result.output
    return tmp_path / "tls"


@pytest.fixture
def secured(database: str, folder: Path) -> Iterator[Stack]:
    stack = Stack(database, folder)
    yield stack
    stack.close()


def _run(stack: Stack, folder: Path | None, who: str, *arguments: str) -> Result:
    files = {"CERTIFICATE": f"{who}.pem", "KEY": f"{who}.key", "CA": "ca.pem"}
    environment = {f"CROSSFADE_TLS_{name}": str(folder / file) for name, file in files.items()} if folder else {}
    return CliRunner().invoke(build(), [*arguments, "--registry", stack.registry], env=environment)


def test_the_certificate_says_who_acts_and_what_they_may(secured: Stack, folder: Path, artifact: Path) -> None:
    published = _run(secured, folder, "publisher", "publish", "sealed", str(artifact))
    assert published.exit_code == 0, published.output
    assert "publisher" in _run(secured, folder, "viewer", "events", "sealed").stdout
    refused = _run(secured, folder, "viewer", "publish", "sealed", str(artifact))
    assert (refused.exit_code, "it takes one of these roles: operator, publisher" in refused.stderr) == (1, True)


def test_without_a_certificate_nobody_is_let_in(secured: Stack, tmp_path: Path) -> None:
    assert _run(secured, None, "", "models").exit_code == 3
    other = tmp_path / "other"
    assert CliRunner().invoke(build(), ["certs", "dev", "--to", str(other)]).exit_code == 0
    foreign = _run(secured, other, "operator", "models")
    assert (foreign.exit_code, foreign.stderr.startswith("error: ")) == (3, True)


def test_a_failed_handshake_is_said_by_the_command_alone(stack: Stack, folder: Path) -> None:
    files = {"CERTIFICATE": "viewer.pem", "KEY": "viewer.key", "CA": "ca.pem"}
    environment = {f"CROSSFADE_TLS_{name}": str(folder / file) for name, file in files.items()}
    command = [sys.executable, "-m", "crossfade.cli", "models", "--json", "--registry", stack.registry]
    inherited = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    ended = subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["error"]["message"].startswith(f"no TLS connection to {stack.registry}: ")
    assert (ended.returncode, ended.stdout) == (3, "")


def test_a_process_reports_what_its_certificate_says_that_it_is(secured: Stack, folder: Path) -> None:
    def report(role: str, kind: resources_pb2.InstanceKind.ValueType) -> str:
        files = TlsFiles(folder / f"{role}.pem", folder / f"{role}.key", folder / "ca.pem")
        instance = resources_pb2.Instance(instance_id=str(uuid.uuid4()), kind=kind, address="127.0.0.1:1")
        with open_channel(secured.registry, files) as channel:
            try:
                stub = service_pb2_grpc.RegistryServiceStub(channel)
                stub.ReportInstance(service_pb2.ReportInstanceRequest(instance=instance), timeout=10)
            except grpc.RpcError as error:
                return details_of(error).reason
        return ""

    assert report("worker", resources_pb2.INSTANCE_KIND_WORKER) == ""
    for role in ("router", "evaluator"):
        assert report(role, resources_pb2.INSTANCE_KIND_WORKER) == "ROLE_MISSING"


def test_half_of_the_files_is_wrong_usage(secured: Stack, folder: Path) -> None:
    environment = {"CROSSFADE_TLS_CA": str(folder / "ca.pem")}
    result = CliRunner().invoke(build(), ["models", "--registry", secured.registry], env=environment)
    assert result.exit_code == 2
    assert "CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY, CROSSFADE_TLS_CA together" in result.stderr
    gone = _run(secured, folder / "gone", "operator", "models")
    certificate = folder / "gone" / "operator.pem"
    said = f"error: the TLS files cannot be used: {certificate} cannot be read: No such file or directory. See "
    assert (gone.exit_code, gone.stderr.startswith(said)) == (1, True)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"CERTIFICATE": "operator.key"}, "operator.key holds no certificate in PEM form"),
        ({"KEY": "operator.pem"}, "operator.pem holds no private key in PEM form"),
        ({"CA": "operator.key"}, "operator.key holds no certificate in PEM form"),
        ({"KEY": "viewer.key"}, "viewer.key is not the key of"),
    ],
)
def test_files_that_do_not_belong_together_are_named(
    secured: Stack, folder: Path, files: dict[str, str], complaint: str
) -> None:
    chosen = {"CERTIFICATE": "operator.pem", "KEY": "operator.key", "CA": "ca.pem"} | files
    environment = {f"CROSSFADE_TLS_{name}": str(folder / file) for name, file in chosen.items()}
    result = CliRunner().invoke(build(), ["models", "--registry", secured.registry], env=environment)
    assert (result.exit_code, complaint in result.stderr) == (1, True), result.stderr


def test_a_client_is_told_which_file_is_wrong(folder: Path) -> None:
    swapped = TlsFiles(certificate=folder / "ca.pem", key=folder / "client.key", ca=folder / "client.pem")
    with pytest.raises(ValueError, match=r"client\.key is not the key of .*ca\.pem"):
        Client("localhost:1", tls=swapped)


async def test_a_service_does_not_start_with_a_key_of_another(database: str, folder: Path) -> None:
    settings = RegistrySettings(
        listen="127.0.0.1:0",
        database=database,
        tls_certificate=folder / "operator.pem",
        tls_key=folder / "viewer.key",
        tls_ca=folder / "ca.pem",
    )
    with pytest.raises(ValueError, match=r"viewer\.key is not the key of"):
        App(settings)
