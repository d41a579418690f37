"""HTTP proxies, which gRPC takes from the environment for every address, this machine's own among them."""

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from crossfade.hosts import is_loopback_host

NO_PROXY: Final = (("grpc.enable_http_proxy", 0),)
"""Options of a channel that goes straight to its address."""
_VARIABLES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""Those that gRPC reads, of which the first that is set counts; source: its core's http_proxy_mapper.cc."""
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")


def proxy_options(address: str) -> tuple[tuple[str, int], ...]:
    """Options of a channel of a user's: no proxy reaches this machine's own loopback."""
    return NO_PROXY if is_loopback_host(_host(address)) else ()


def proxy_hint(address: str, environment: Mapping[str, str] = os.environ) -> str:
    """What to look at where nothing answers at an address that is called by a proxy; empty: it is called without."""
    host = _host(address)
    variable = next((name for name in _VARIABLES if environment.get(name)), "")
    if not variable or not host or is_loopback_host(host):
        return ""
    exceptions = next((environment[name] for name in _EXCEPTIONS if environment.get(name)), "")
    if any(host.endswith(one) for one in map(str.strip, exceptions.split(",")) if one):
        return ""
    return f"Calls go by the proxy that {variable} names: add {host} to no_proxy to call it without."


def _host(address: str) -> str:
    """The host of HOST:PORT or of dns:[//AUTHORITY/]HOST:PORT; empty: it is another target."""
    if address.startswith("unix"):
        return ""
    try:
        return urlsplit(f"//{address.removeprefix('dns:').rpartition('/')[2]}").hostname or ""
    except ValueError:
        return ""
