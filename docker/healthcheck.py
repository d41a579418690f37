"""Asks the service of this container whether it serves, over grpc.health.v1 with the service's own certificate.

Ends with 0 when it does and with 1 and one line on stderr when it does not. With an argument it asks for that service
of the server, as in `healthcheck.py crossfade.worker.versions`. It reads the service's settings from the environment:
CROSSFADE_LISTEN, CROSSFADE_ADVERTISE and the TLS files.
"""

import sys
from typing import Final
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossfade.proxies import NO_PROXY
from services.common.channels import channel_credentials
from services.common.settings import ServiceSettings
from services.common.start_errors import start_error

_SECONDS: Final = 5.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read from a setting, nothing is bound


def check(settings: ServiceSettings, service: str = "") -> str:
    """What is wrong with the service; empty when it serves.

    Args:
        settings: of the container.
        service: of grpc.health.v1; empty: the server as a whole.

    Raises:
        ValueError: the settings name no port, or TLS by half, or a TLS file cannot be used.
    """
    listen = urlsplit(f"//{settings.listen}")
    if not listen.port:
        raise ValueError(f"CROSSFADE_LISTEN is {settings.listen!r}: give the service a fixed port, as in 0.0.0.0:8500")
    host = _LOOPBACK.get(listen.hostname or "", listen.hostname)
    target = f"[{host}]:{listen.port}" if ":" in (host or "") else f"{host}:{listen.port}"
    with _open(target, settings) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            return f"{target} does not answer: {error.code().name}: {error.details()}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return f"{service or target} is {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    return ""


def _open(target: str, settings: ServiceSettings) -> grpc.Channel:
    if not settings.tls:
        return grpc.insecure_channel(target, options=NO_PROXY)
    # The certificate is for the name by which others reach the service, not for loopback.
    name = urlsplit(f"//{settings.advertise or settings.listen}").hostname
    options = (("grpc.ssl_target_name_override", name), *NO_PROXY)
    return grpc.secure_channel(target, channel_credentials(settings), options=options)


def main() -> int:
    """Checks once; answers the exit code."""
    try:
        found = check(ServiceSettings(), *sys.argv[1:2])
    except (ValueError, OSError) as error:
        found = start_error(error)
    if found:
        sys.stderr.write(f"healthcheck: {found}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
