"""A server that is there and that TLS keeps a caller from: what gRPC says of it is read, not taken for nobody there."""

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from crossfade.cli.actions.certificates import make_certificates
from crossfade.cli.errors import NothingAnswersError, command_error
from crossfade.client import Client, NoTlsConnectionError
from crossfade.connection import TlsFiles, open_channel
from crossfade.tls_faults import tls_fault

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    now = dt.datetime.now(dt.UTC)
    for name, begin in (("ours", now), ("foreign", now), ("expired", now - 400 * DAY)):
        make_certificates(made / name, [], begin)
    return made


def files(folder: Path, who: str, ca: str) -> TlsFiles:
    """Of a client that is of one CA and believes another; what is wrong with them is for the server to say."""
    return TlsFiles(folder / who / "client.pem", folder / who / "client.key", folder / ca / "ca.pem")


def credentials(folder: Path, who: str, ca: str) -> grpc.ServerCredentials:
    pem, key, authority = (
        file.read_bytes() for file in (folder / who / "router.pem", folder / who / "router.key", folder / ca / "ca.pem")
    )
    return grpc.ssl_server_credentials([(key, pem)], authority, require_client_auth=True)


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    made = grpc.server(ThreadPoolExecutor(1))
    yield made
    made.stop(0).wait()


def said(address: str, tls: TlsFiles | None) -> str:
    """What the command says, which is what a client says too."""
    # It tries for as long as it may: a certificate may be replaced meanwhile.
    with Client(address, tls=tls, timeout=3.0) as client, pytest.raises(NoTlsConnectionError) as refused:
        client.predict("churn", np.zeros((1, 2), np.float32))
    with open_channel(address, tls) as channel, pytest.raises(grpc.RpcError) as caught:
        call: Any = channel.unary_unary("/any/Method")
        call(b"", timeout=10.0)
    error = command_error(caught.value, address, "registry")
    assert not isinstance(error, NothingAnswersError)
    assert error.exit_code == 3
    assert error.message.partition(" (")[0] == refused.value.message.partition(" (")[0]
    return error.message


@pytest.mark.parametrize(
    ("serving", "calling", "words"),
    [
        (("ours", "ours"), None, "does not take this connection: it wants TLS"),
        (("ours", "expired"), ("ours", "ours"), "does not take this connection: it wants TLS"),
        (("ours", "ours"), ("foreign", "ours"), "does not take this connection: it wants TLS"),
        (("foreign", "ours"), ("ours", "ours"), "has a certificate that CROSSFADE_TLS_CA has not signed"),
    ],
)
def test_what_tls_has_against_a_connection_is_said(
    server: grpc.Server, folder: Path, serving: tuple[str, str], calling: tuple[str, str] | None, words: str
) -> None:
    port = server.add_secure_port("localhost:0", credentials(folder, *serving))
    server.start()
    line = said(f"localhost:{port}", files(folder, *calling) if calling else None)
    assert line.startswith(f"no TLS connection to localhost:{port}: what answers there {words}")


def test_a_name_that_the_certificate_lacks_is_said(server: grpc.Server, folder: Path) -> None:
    port = server.add_secure_port("127.0.0.2:0", credentials(folder, "ours", "ours"))
    server.start()
    assert "has a certificate without this name" in said(f"127.0.0.2:{port}", files(folder, "ours", "ours"))


def test_a_server_may_know_its_callers_by_another_ca_than_its_own(server: grpc.Server, folder: Path) -> None:
    port = server.add_secure_port("localhost:0", credentials(folder, "foreign", "ours"))
    server.start()
    with open_channel(f"localhost:{port}", files(folder, "ours", "foreign")) as channel:
        call: Any = channel.unary_unary("/any/Method")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10.0)
    # The server has taken the connection; there is no such method.
    answer: Any = caught.value
    assert answer.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_server_without_tls_is_said(server: grpc.Server, folder: Path) -> None:
    port = server.add_insecure_port("localhost:0")
    server.start()
    assert "speaks no TLS: is this the right address?" in said(f"localhost:{port}", files(folder, "ours", "ours"))


@pytest.mark.parametrize(
    ("details", "words"),
    [
        (
            (
                "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Tls handshake failed "
                "(TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
                "CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
            ),
            "has a certificate that has expired",
        ),
        ("Cannot check peer: missing selected ALPN property.", "does not take this connection"),
        ("failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote", ""),
        # It has taken the call, and ended.
        ("Socket closed", ""),
        ("errors resolving handshake.invalid:1: [field:hostname lookup error: Domain name not found]", ""),
    ],
)
def test_what_grpc_says_is_read(details: str, words: str) -> None:
    found = tls_fault(details, "localhost:1")
    assert (words in found) if words else not found
