"""credentials.sh: from the output of `crossfade certs dev` to one folder per container."""

import datetime as dt
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from crossfade.cli.actions.certificates import make_certificates
from crossfade.signing import make_signing_key
from services.common.identity import Role, certificate_principal

FOLDERS = {"registry", "router", "worker", "evaluator", "prometheus"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    names = ["registry", "router", "worker", "evaluator"]
    make_certificates(folder / "certificates", names, dt.datetime.now(dt.UTC))
    make_signing_key(folder / "signing.key", folder / "signing.pem")
    (folder / "token-keys").write_text("1 " + "5a" * 32 + "\n")
    return folder


def _run(root: Path, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh")
    assert shell is not None
    # Only root may give files to others; the script is told to give them to whoever runs this.
    own = f"{os.getuid()}:{os.getgid()}"
    environment = {"PATH": os.environ["PATH"], "SERVICE_USER": own, "PROMETHEUS_USER": own}
    command = [shell, str(root / "docker/credentials.sh"), str(source), str(target)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _principal(file: Path) -> frozenset[Role]:
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return certificate_principal(names.get_values_for_type(x509.UniformResourceIdentifier)).roles


def test_every_container_gets_what_its_settings_name(
    root: Path, source: Path, tmp_path: Path, containers: dict[str, dict[str, Any]]
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    done = _run(root, source, target)
    assert done.returncode == 0, done.stderr
    assert {folder.name for folder in target.iterdir()} == FOLDERS
    wanted = 0
    for name in FOLDERS - {"prometheus"}:
        for value in containers[name]["environment"].values():
            if str(value).startswith("/run/crossfade/"):
                assert (target / name / value.removeprefix("/run/crossfade/")).is_file(), (name, value)
                wanted += 1
    assert wanted == 3 * 4 + 2 + 1


def test_each_sees_its_own_key_alone(root: Path, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    assert _run(root, source, target).returncode == 0
    for folder in target.iterdir():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o500
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o400 for file in folder.iterdir())
        certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        key = load_pem_private_key((folder / "certificate.key").read_bytes(), None)
        assert key.public_key() == certificate.public_key()
        assert not (folder / "ca.key").exists()
    assert {folder.name for folder in target.iterdir() if (folder / "token-keys").exists()} == {"router", "worker"}
    assert [file.parent.name for file in target.glob("*/signing.*")] == ["worker"]
    assert _principal(target / "prometheus/certificate.pem") == {Role.VIEWER}
    for name in FOLDERS - {"prometheus"}:
        assert _principal(target / name / "certificate.pem") == {Role(name)}


def test_it_can_run_again_with_new_keys(root: Path, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    assert _run(root, source, target).returncode == 0
    (source / "token-keys").write_text("2 " + "a5" * 32 + "\n")
    assert _run(root, source, target).returncode == 0
    assert (target / "router/token-keys").read_text().startswith("2 ")


def test_a_missing_file_is_named(root: Path, source: Path, tmp_path: Path) -> None:
    (source / "token-keys").unlink()
    target = tmp_path / "target"
    target.mkdir()
    done = _run(root, source, target)
    assert done.returncode == 1
    assert "token-keys is missing: see docs/deployment.md" in done.stderr


def test_the_scripts_are_valid_shell(root: Path) -> None:
    shell = shutil.which("sh")
    assert shell is not None
    scripts = sorted((root / "docker").glob("*.sh"))
    assert [script.name for script in scripts] == ["credentials.sh", "database-certificates.sh"]
    for script in scripts:
        done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
