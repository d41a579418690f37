"""Which calls a proxy of the environment gets, and what is said where one is in the way."""

import pytest

from crossfade.proxies import NO_PROXY, proxy_hint, proxy_options

PROXY = {"http_proxy": "http://proxy:3128"}


@pytest.mark.parametrize(
    "address",
    ["localhost:8500", "127.0.0.1:8500", "127.5.0.1:8500", "[::1]:8500", "dns:localhost:8500", "dns:///[::1]:8500"],
)
def test_no_proxy_is_asked_for_this_machine(address: str) -> None:
    assert proxy_options(address) == NO_PROXY
    assert proxy_hint(address, PROXY) == ""


@pytest.mark.parametrize("address", ["router:8500", "10.0.0.7:8500", "[2001:db8::1]:8500", "dns:///router:8500"])
def test_one_that_the_environment_names_is_asked_for_others(address: str) -> None:
    assert proxy_options(address) == ()
    assert proxy_hint(address, PROXY).startswith("Calls go by the proxy that http_proxy names: add ")
    assert proxy_hint(address, {}) == ""


def test_the_variable_is_named_that_counts() -> None:
    assert "grpc_proxy" in proxy_hint("router:8500", {**PROXY, "grpc_proxy": "http://proxy:1"})
    assert proxy_hint("router:8500", {"HTTP_PROXY": "http://proxy:1"}) == ""


def test_what_is_excepted_is_called_without() -> None:
    assert proxy_hint("router.example.org:8500", {**PROXY, "no_proxy": "localhost, .example.org"}) == ""
    assert proxy_hint("router.example.com:8500", {**PROXY, "no_proxy": "localhost, .example.org"})
    assert proxy_hint("router:8500", {**PROXY, "no_proxy": "router", "no_grpc_proxy": "other"})


def test_a_socket_has_none() -> None:
    assert proxy_hint("unix:/run/router", PROXY) == ""
