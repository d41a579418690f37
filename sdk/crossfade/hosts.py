"""Hosts and ports: the parts of HOST:PORT, and which of them are this machine's own."""

import ipaddress
import re
from typing import Final

_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:/\[\]]*)):(?P<port>[0-9]{1,5})")


def host_and_port(value: str) -> tuple[str, int] | None:
    """Host and port of HOST:PORT, or of [ADDRESS]:PORT with an address of IPv6; None: it has another form."""
    found = _HOST_AND_PORT.fullmatch(value)
    if found is None:
        return None
    host, port = found["name"] or "", int(found["port"])
    if found["v6"] is not None:
        host = found["v6"]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return None
    return (host, port) if port < 65_536 else None


def no_address(value: str, example: str) -> str:
    """What is said of a value that is none: how to write one."""
    # Without brackets nobody can tell the address from the port, and gRPC takes 443 for it.
    brackets = ", and an address of IPv6 in brackets, as in [::1]:8500" if value.count(":") > 1 else ""
    return f"{value!r} is not an address: write HOST:PORT, as in {example}{brackets}"


def is_loopback_host(host: str) -> bool:
    """Whether only this machine is reached by a host's name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
