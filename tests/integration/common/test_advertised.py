"""A service that reports its address reports one that others can dial."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.cli.actions.certificates import make_certificates
from evaluator.app import App as EvaluatorApp
from evaluator.settings import EvaluatorSettings
from router.app import App as RouterApp
from router.settings import RouterSettings
from services.common.server import AddressError, is_unspecified
from services.worker.app import App as WorkerApp
from services.worker.settings import WorkerSettings

APPS: dict[str, Callable[..., Any]] = {
    "router": lambda **options: RouterApp(RouterSettings(**options)),
    "worker": lambda **options: WorkerApp(WorkerSettings(allow_unsigned=True, **options)),
    "evaluator": lambda **options: EvaluatorApp(EvaluatorSettings(**options)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, and a key of prediction ids."""
    root = tmp_path_factory.mktemp("advertised")
    make_certificates(root / "dev", [], dt.datetime.now(dt.UTC))
    (root / "token-keys").write_text("1 " + "ab" * 32 + "\n")
    return root


@pytest.mark.parametrize("name", APPS)
async def test_who_listens_everywhere_says_under_which_name(folder: Path, name: str) -> None:
    options = {
        "listen": "0.0.0.0:0",
        "tls_certificate": folder / "dev" / f"{name}.pem",
        "tls_key": folder / "dev" / f"{name}.key",
        "tls_ca": folder / "dev" / "ca.pem",
        "token_keys": folder / "token-keys",
        "log_level": "critical",
        "drain_seconds": 0.0,
    }
    for advertised in ("", "0.0.0.0:8500"):
        with pytest.raises(AddressError, match="set CROSSFADE_ADVERTISE to the name and port"):
            APPS[name](advertise=advertised, **options)
    made = APPS[name](advertise=f"{name}.example.org:8500", **options)
    await made.start()
    await made.stop()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("[0:0::0]:1", True),
        (":1", True),
        ("127.0.0.1:1", False),
        ("[::1]:1", False),
        ("0.example.org:1", False),
    ],
)
def test_addresses_of_all_of_a_machine(address: str, expected: bool) -> None:
    assert is_unspecified(address) is expected
