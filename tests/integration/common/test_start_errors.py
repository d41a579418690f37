"""What a service says that cannot start: the setting, and the file or value that is wrong with it."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crossfade.cli.actions.certificates import make_certificates
from evaluator.app import App as Evaluator
from evaluator.settings import EvaluatorSettings
from registry.app import App as Registry
from registry.settings import RegistrySettings
from router.app import App as Router
from router.settings import RouterSettings
from services.common.server import AddressError
from services.common.start_errors import start_error
from services.worker.app import App as Worker
from services.worker.settings import WorkerSettings

APPS: Mapping[str, tuple[Any, Any]] = {
    "evaluator": (EvaluatorSettings, Evaluator),
    "registry": (RegistrySettings, Registry),
    "router": (RouterSettings, Router),
    "worker": (WorkerSettings, Worker),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    now = dt.datetime.now(dt.UTC)
    for name, begin in (("tls", now), ("foreign", now), ("expired", now - dt.timedelta(days=400))):
        make_certificates(made / name, [], begin)
    (made / "keys").write_text(f"1 {'ab' * 32}\n")
    (made / "bad").write_text("no such thing\n")
    (made / "raw").write_bytes(b"\xff\xfe\x00")
    return made


async def said(name: str, folder: Path, **settings: str) -> str:
    """The line of a service that does not start; `+` in a value stands for the folder."""
    needed = {"router": {"token_keys": "+/keys"}, "registry": {"database": "postgresql://x@127.0.0.1:1/x"}}
    given = {"listen": "127.0.0.1:0", **needed.get(name, {}), **settings}
    read, make = APPS[name]
    try:
        make(read(**{key: value.replace("+", str(folder)) for key, value in given.items()}))
    except (AddressError, ValueError, OSError) as error:
        return start_error(error).replace(str(folder), "+")
    return "started"


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("router", {"token_keys": "+/none"}, "CROSSFADE_TOKEN_KEYS: +/none cannot be read (No such file or directory)"),
        ("router", {"token_keys": "+"}, "CROSSFADE_TOKEN_KEYS: + cannot be read (Is a directory)"),
        ("router", {"token_keys": "+/bad"}, "CROSSFADE_TOKEN_KEYS: +/bad: "),
        ("worker", {"token_keys": "+/bad"}, "CROSSFADE_TOKEN_KEYS: +/bad: "),
        ("router", {"token_keys": "+/raw"}, "CROSSFADE_TOKEN_KEYS: +/raw is no text in UTF-8"),
        ("router", {"table_file": "+"}, "CROSSFADE_TABLE_FILE: + is a folder: name a file, as +/routes"),
        ("registry", {"database_password_file": "+/none"}, "CROSSFADE_DATABASE_PASSWORD_FILE: +/none cannot be read"),
        ("registry", {"webhooks": "+/none"}, "CROSSFADE_WEBHOOKS: +/none cannot be read (No such file or directory)"),
        ("registry", {"webhooks": "+/bad"}, "CROSSFADE_WEBHOOKS: +/bad: Expected"),
        (
            "evaluator",
            {"evaluator_prometheus": "https://x:1", "evaluator_prometheus_ca": "+/none"},
            "CROSSFADE_EVALUATOR_PROMETHEUS_CA: +/none cannot be read (No such file or directory)",
        ),
        (
            "evaluator",
            {"evaluator_prometheus": "https://x:1", "evaluator_prometheus_ca": "+/bad"},
            "CROSSFADE_EVALUATOR_PROMETHEUS_CA: +/bad holds no certificate",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    folder: Path, name: str, settings: dict[str, str], line: str
) -> None:
    assert (await said(name, folder, **settings)).startswith(line)


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"registry": "http://10.0.0.1:8400"},
            "CROSSFADE_REGISTRY: 'http://10.0.0.1:8400' is not an address: write HOST:",
        ),
        ({"registry": "registry"}, "CROSSFADE_REGISTRY: 'registry' is not an address: write HOST:PORT"),
        ({"listen": "http://127.0.0.1:0"}, "CROSSFADE_LISTEN: 'http://127.0.0.1:0' is not an address: write HOST:PORT"),
        ({"listen": ""}, "CROSSFADE_LISTEN: '' is not an address: write HOST:PORT"),
        (
            {"listen": "::1:0"},
            "CROSSFADE_LISTEN: '::1:0' is not an address: write HOST:PORT, as in 127.0.0.1:8500, and an address of",
        ),
        ({"listen": "[::1:0"}, "CROSSFADE_LISTEN: '[::1:0' is not an address: write HOST:PORT"),
        ({"listen": "[localhost]:0"}, "CROSSFADE_LISTEN: '[localhost]:0' is not an address: write HOST:PORT"),
        ({"registry": "::1:8400"}, "CROSSFADE_REGISTRY: '::1:8400' is not an address: write HOST:PORT"),
        ({"metrics_listen": "9500"}, "CROSSFADE_METRICS_LISTEN: '9500' is not an address: write HOST:PORT"),
        ({"advertise": "me"}, "CROSSFADE_ADVERTISE: 'me' is not an address: write HOST:PORT"),
        ({"otlp_endpoint": "jaeger:4317"}, "CROSSFADE_OTLP_ENDPOINT: 'jaeger:4317' is no URL: write http://HOST:4317"),
        ({"otlp_endpoint": "https://"}, "CROSSFADE_OTLP_ENDPOINT: 'https://' is no URL"),
        ({"otlp_endpoint": "http://[jaeger"}, "CROSSFADE_OTLP_ENDPOINT: "),
    ],
)
async def test_what_is_no_address_is_said_with_its_setting(
    folder: Path, name: str, settings: dict[str, str], line: str
) -> None:
    assert (await said(name, folder, **settings)).startswith(line)


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize(
    ("setting", "file", "complaint"),
    [
        ("tls_certificate", "none", "cannot be read (No such file or directory)"),
        ("tls_key", "none", "cannot be read (No such file or directory)"),
        ("tls_ca", "bad", "holds no certificate in PEM form"),
        ("tls_key", "tls/viewer.key", "is not the key of +/tls/router.pem"),
    ],
)
async def test_a_tls_file_that_cannot_be_used_is_named_with_its_setting(
    folder: Path, name: str, setting: str, file: str, complaint: str
) -> None:
    files = {"tls_certificate": "+/tls/router.pem", "tls_key": "+/tls/router.key", "tls_ca": "+/tls/ca.pem"}
    line = await said(name, folder, **(files | {setting: f"+/{file}"}))
    assert line.startswith(f"CROSSFADE_{setting.upper()}: +/{file} {complaint}")


@pytest.mark.parametrize("name", APPS)
async def test_a_certificate_that_nobody_would_take_is_named(folder: Path, name: str) -> None:
    for ca, own, complaint in (
        ("foreign", "tls", "is not signed by the CA in +/foreign/ca.pem: name files of one CA"),
        ("expired", "expired", "has expired on "),
    ):
        files = {"certificate": f"+/{own}/router.pem", "key": f"+/{own}/router.key", "ca": f"+/{ca}/ca.pem"}
        line = await said(name, folder, **{f"tls_{key}": file for key, file in files.items()})
        assert line.startswith(f"CROSSFADE_TLS_CERTIFICATE: +/{own}/router.pem {complaint}")
