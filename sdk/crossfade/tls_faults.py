"""What gRPC's words say when a server is there and TLS keeps a caller from it."""

from typing import Final

_UNRESOLVED: Final = "errors resolving"
"""What follows is a name of the user's choosing."""
_NOT_CONNECTED: Final = ("failed to connect", "connections to all backends failing")
_FILES: Final = "CROSSFADE_TLS_CERTIFICATE, CROSSFADE_TLS_KEY and CROSSFADE_TLS_CA"
_ENDED: Final = (
    "does not take this connection: it wants TLS with a certificate of its own CA that has not expired. Do "
    f"{_FILES} name such files? (`openssl x509 -in FILE -noout -enddate -issuer` shows it)"
)
_FAULTS: Final = (
    (
        "hostname verification",
        "has a certificate without this name: use an address that stands in it, or give the server one with this name",
    ),
    ("certificate has expired", "has a certificate that has expired: it needs a new one"),
    ("verify_failed", "has a certificate that CROSSFADE_TLS_CA has not signed: name the CA of this server"),
    ("wrong_version_number", f"speaks no TLS: is this the right address? If it is, leave {_FILES} unset"),
    ("handshake", _ENDED),
    ("certificate", _ENDED),
    ("verification", _ENDED),
    ("alpn", _ENDED),
)


def tls_fault(said: str, address: str) -> str:
    """What a person should look at; empty: TLS is not in the way.

    Args:
        said: the details of a call that failed with UNAVAILABLE, as gRPC wrote them.
        address: where the call went.
    """
    words = said.lower()
    if words.startswith(_UNRESOLVED):
        return ""
    fault = next((fault for word, fault in _FAULTS if word in words), "")
    # A server that refuses a certificate says so by ending the connection before it has begun. One that ends later has
    # taken the call, and gRPC then says nothing of connecting.
    if not fault and "socket closed" in words and any(one in words for one in _NOT_CONNECTED):
        fault = _ENDED
    return f"no TLS connection to {address}: what answers there {fault} ({said})" if fault else ""
