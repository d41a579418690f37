"""TLS files that are exchanged while a client lives: what it shows, and when it looks."""

import datetime as dt
from pathlib import Path

import pytest

from crossfade.cli.actions.certificates import make_certificates
from crossfade.connection import TlsFiles
from crossfade.shown_files import ShownFiles
from tests.fakes.clock import ManualClock
from tests.support.tls import Files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls") / "dev"
    make_certificates(made, [], dt.datetime.now(dt.UTC))
    return made


def test_what_the_files_held_is_shown_until_they_can_be_used_again(folder: Path, tmp_path: Path) -> None:
    files, clock = Files(folder, tmp_path, "viewer"), ManualClock()
    shown = ShownFiles(TlsFiles(*(tmp_path / what for what in ("certificate", "key", "ca"))), clock.monotonic)
    first = shown.latest()
    assert first.certificate == (folder / "viewer.pem").read_bytes()

    def look() -> object:
        clock.advance(1.0)
        return shown.latest()

    assert look() is first
    files.put("certificate", "worker.pem")
    # The key is yet to come.
    assert [look(), look()] == [first, first]
    files.put("key", "worker.key")
    # They were looked at a moment ago.
    assert shown.latest() is first
    second = look()
    assert (
        second == shown.contents == TlsFiles(folder / "worker.pem", folder / "worker.key", folder / "ca.pem").contents()
    )
    for broken in ("", "-----BEGIN CERTIFICATE-----"):
        (tmp_path / "certificate").write_text(broken)
        assert look() is second
    # A process may have given up the right to read them.
    (tmp_path / "key").unlink()
    assert look() is second


def test_files_that_cannot_be_used_are_refused_where_a_client_is_made(folder: Path, tmp_path: Path) -> None:
    files = Files(folder, tmp_path, "viewer")
    files.put("certificate", "worker.pem")
    paths = TlsFiles(*(tmp_path / what for what in ("certificate", "key", "ca")))
    with pytest.raises(ValueError, match="is not the key of"):
        ShownFiles(paths)
    (tmp_path / "ca").unlink()
    with pytest.raises(OSError, match="No such file"):
        ShownFiles(paths)
