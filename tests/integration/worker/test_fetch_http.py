"""Artifacts from HTTP servers of many kinds: whole, or refused with what went wrong."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fsspec.implementations.http import HTTPFileSystem

from crossfade.manifest import SIGNATURE_FILE
from services.worker.artifacts.fetch import copy_artifact, fetch_signature
from services.worker.domain import ArtifactRef, LoadError
from tests.fakes.models import Packaged, package_scores
from tests.support.http_site import Chunks, CutOff, Failing, Files, Site, moved

Serve = Callable[[type[Files]], str]


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """In a folder with a blank in its name, and too large to be read at once."""
    return package_scores(tmp_path_factory.mktemp("site") / "scores v1", work=1800)


@pytest.fixture
def serve(packaged: Packaged) -> Iterator[Serve]:
    """Starts servers of the folder; answers the artifact's address."""
    with contextlib.ExitStack() as servers:

        def start(handler: type[Files]) -> str:
            return servers.enter_context(Site(packaged.artifact.path.parent, handler)).address + "/scores%20v1"

        yield start


def fetched(uri: str, packaged: Packaged, target: Path) -> list[Path]:
    artifact = packaged.artifact
    target.mkdir()
    copy_artifact(uri, ArtifactRef(uri, artifact.digest, artifact.size), target, lambda: False)
    return sorted(target.iterdir())


def refusal(uri: str, packaged: Packaged, target: Path) -> str:
    with pytest.raises(LoadError) as raised:
        fetched(uri, packaged, target)
    assert raised.value.transient
    return str(raised.value).removeprefix(f"{uri}/model.json ")


@pytest.mark.parametrize("handler", [Files, Chunks])
def test_every_byte_arrives(handler: type[Files], serve: Serve, packaged: Packaged, tmp_path: Path) -> None:
    uri = serve(handler)
    assert packaged.artifact.size > 12 << 20
    there = {path.name: path.read_bytes() for path in packaged.artifact.path.iterdir()}
    assert {path.name: path.read_bytes() for path in fetched(uri, packaged, tmp_path / "here")} == there
    assert fetch_signature(uri) is None
    signature = packaged.artifact.path / SIGNATURE_FILE
    try:
        signature.write_bytes(bytes(range(256)) * 400)
        assert fetch_signature(uri) == signature.read_bytes()
        signature.write_bytes(bytes(1 << 21))
        with pytest.raises(LoadError, match="is larger than a signature may be"):
            fetch_signature(uri)
    finally:
        signature.unlink()


def test_nothing_stays_of_a_file_that_was_fetched(serve: Serve) -> None:
    """A Worker runs for months, and asks for what is not there twice a minute."""
    uri = serve(Files)
    before = _file_systems()
    for _ in range(10):
        assert fetch_signature(uri) is None
    assert _file_systems() <= before


def _file_systems() -> int:
    """Those in memory, each with a session of its own."""
    gc.collect()
    return sum(type(one) is HTTPFileSystem for one in gc.get_objects())


def test_what_went_wrong_is_said(serve: Serve, packaged: Packaged, tmp_path: Path) -> None:
    assert refusal(serve(Files) + "0", packaged, tmp_path / "a") == "does not exist"
    uri = serve(CutOff)
    assert refusal(uri, packaged, tmp_path / "b").startswith(
        f"{uri}/program.pt2 could not be fetched: ClientPayloadError"
    )
    assert (tmp_path / "b" / "program.pt2").stat().st_size > 1 << 20
    assert "could not be fetched: ClientResponseError: 503" in refusal(serve(Failing), packaged, tmp_path / "c")
    assert "Cannot connect to host" in refusal("http://127.0.0.1:9/scores%20v1", packaged, tmp_path / "d")


def test_redirects_are_not_followed(serve: Serve, packaged: Packaged, tmp_path: Path) -> None:
    elsewhere = serve(Files)
    uri = serve(moved(f"{elsewhere}/model.json"))
    refused = refusal(uri, packaged, tmp_path / "here")
    assert refused.startswith("answers that the file is elsewhere")


@pytest.mark.parametrize("handler", [Failing, None])
def test_a_server_that_fails_is_no_missing_signature(handler: type[Files] | None, serve: Serve) -> None:
    uri = serve(handler) if handler else "http://127.0.0.1:9/scores%20v1"
    with pytest.raises(LoadError, match="could not be fetched"):
        fetch_signature(uri)
