"""Channels to other services: the TLS files are checked once, and not for each of hundreds of channels."""

import datetime as dt
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import VALID_DAYS, make_certificates
from services.common.channels import Channels
from services.common.settings import TlsSettings
from tests.fakes.clock import ManualClock
from tests.support.tls import Files

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificates(made / "dev", [], NOW)
    return made / "dev"


def test_channels_share_their_credentials_while_the_files_are_the_same(folder: Path, tmp_path: Path) -> None:
    files = Files(folder, tmp_path, "router")
    channels = Channels(TlsSettings(**files.settings))
    first = channels.credentials()
    assert channels.credentials() is first
    files.put("certificate", "worker.pem")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"CROSSFADE_TLS_KEY: .* is not the key of"):
            channels.credentials()
    files.put("key", "worker.key")
    second = channels.credentials()
    assert second is not first
    assert channels.credentials() is second
    (tmp_path / "ca").unlink()
    with pytest.raises(ValueError, match=r"CROSSFADE_TLS_CA: .* cannot be read \(No such file"):
        channels.credentials()


def test_files_whose_certificate_has_ended_are_looked_at_again(folder: Path, tmp_path: Path) -> None:
    clock = ManualClock(NOW.timestamp())
    channels = Channels(TlsSettings(**Files(folder, tmp_path, "router").settings), clock.now)
    first = channels.credentials()
    clock.advance(VALID_DAYS * 86_400.0 - 60.0)
    assert channels.credentials() is first
    clock.advance(120.0)
    assert channels.credentials() is not first
