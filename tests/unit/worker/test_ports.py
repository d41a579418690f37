"""A Worker that lives for long holds the ports of what it serves, and not of all that it ever served."""

import socket
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from services.common.ports import free_port
from services.worker.domain import ServingKey, Traffic
from services.worker.settings import WorkerSettings
from services.worker.supervisor.ports import RETENTION_SECONDS, Ports


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports("127.0.0.1", "worker-1")
    yield made
    made.close()


def key(version: int) -> ServingKey:
    return ServingKey("m", f"v{version}", Traffic.LIVE)


def is_reserved(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False


def test_a_port_is_given_back_when_its_version_has_been_gone_for_long(ports: Ports) -> None:
    addresses = {version: ports.listen_address(key(version)) for version in (1, 2)}
    assert ports.advertised_address(key(1)) == addresses[1].replace("127.0.0.1", "worker-1")
    ports.prune({key(1), key(2)}, 0.0)
    ports.prune({key(1)}, 10.0)
    ports.prune({key(1)}, 9.0 + RETENTION_SECONDS)
    assert is_reserved(addresses[2])
    ports.prune({key(1)}, 10.0 + RETENTION_SECONDS)
    assert (is_reserved(addresses[1]), is_reserved(addresses[2])) == (True, False)
    assert is_reserved(ports.listen_address(key(2)))


def test_a_version_that_comes_back_has_its_address(ports: Ports) -> None:
    address = ports.listen_address(key(1))
    ports.prune({}, 0.0)
    ports.prune({key(1)}, RETENTION_SECONDS / 2)
    ports.prune({}, RETENTION_SECONDS)
    ports.prune({}, 1.5 * RETENTION_SECONDS)
    assert ports.listen_address(key(1)) == address
    assert is_reserved(address)


def test_versions_keep_to_the_ports_that_they_may_have() -> None:
    first = free_port()
    among = range(first, first + 3)
    ports, others = Ports("127.0.0.1", "worker-1", among), Ports("127.0.0.1", "worker-2", among)
    try:
        taken = [one.listen_address(key(number)) for number, one in enumerate((ports, others, ports))]
        assert len(set(taken)) == 3
        assert {int(address.rpartition(":")[2]) for address in taken} == set(among)
        with pytest.raises(OSError, match=rf"from {first} to {first + 2} is free: .* CROSSFADE_VERSION_PORTS"):
            others.listen_address(key(9))
    finally:
        ports.close()
        others.close()


def test_a_port_whose_connections_were_just_closed_is_free() -> None:
    first = free_port()
    with socket.create_server(("127.0.0.1", first)) as server:
        client = socket.create_connection(("127.0.0.1", first))
        served, _ = server.accept()
        # Who closes first has the connection in TIME_WAIT for a minute.
        served.close()
        client.close()
    ports = Ports("127.0.0.1", "worker-1", range(first, first + 1))
    assert ports.listen_address(key(1)) == f"127.0.0.1:{first}"
    ports.close()


@pytest.mark.parametrize("ports", ["21000", "2-1", "0-10", "70000-70001", "a-b"])
def test_ranges_that_are_none_are_refused(ports: str) -> None:
    with pytest.raises(ValidationError, match="version_ports"):
        WorkerSettings(version_ports=ports)
