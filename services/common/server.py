"""A gRPC server as every service starts and ends it."""

import asyncio
import errno
import gc
import ipaddress
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog
from grpc import aio
from grpc_channelz.v1 import channelz, channelz_pb2_grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME

from crossfade.connection import MESSAGE_LIMIT
from crossfade.hosts import host_and_port, is_loopback_host, no_address
from services.common import guard, reflection
from services.common.descriptors import Descriptors
from services.common.health import Health
from services.common.loops import begun_again
from services.common.own_certificate import own_certificate
from services.common.release import release
from services.common.settings import ServiceSettings
from services.common.telemetry.store import Snapshot

Options = tuple[tuple[str, int], ...]

OPTIONS: Final[Options] = (
    # By default a second server silently takes the same port.
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_metadata_size", 8 * 1024),
    # A connection at its bound has calls reset (docs/adr/0006); maximum_concurrent_rpcs sheds load with a clear status.
    ("grpc.max_concurrent_streams", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients in other languages ping every 10 s, also between calls. Of one that pings more often than it may the
    # connection is closed, and what is under way there fails with RESOURCE_EXHAUSTED.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
)
LONG_CALLS: Final[Options] = tuple({**dict(OPTIONS), "grpc.max_connection_age_grace_ms": 2**31 - 1}.items())
"""Where answers come in parts: new calls leave a connection that has reached its age, and those on it last as long as
they take. Cut off, they would be charged to their versions. A server that ends gives them its time for draining."""


FOR_STREAMS: Final = 0.8
"""Share of the time for draining after which streams are ended with a reason, before grpc cuts them off without."""


class AddressError(Exception):
    """A server cannot listen where it was told to; the message says what to do."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`.

    Raises:
        AddressError: it has another form.
    """
    found = host_and_port(address)
    if found is None:
        raise AddressError(no_address(address, "127.0.0.1:8500"))
    return found


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it.

    Raises:
        AddressError: it is no address.
    """
    host, _ = split_address(address)
    return is_loopback_host(host)


def check_exposure(address: str, *, tls: bool) -> None:
    """Refuses to listen beyond loopback without TLS.

    Raises:
        AddressError: the host is not a loopback address and TLS is off.
    """
    if not is_loopback(address) and not tls:
        raise AddressError(
            f"{address} can be reached from other machines, so it takes TLS: set CROSSFADE_TLS_CERTIFICATE, "
            "CROSSFADE_TLS_KEY and CROSSFADE_TLS_CA (`crossfade certs dev` makes a set), or listen on 127.0.0.1"
        )


def is_unspecified(address: str) -> bool:
    """Whether it stands for all of the machine's own addresses: whoever dials it reaches itself."""
    found = host_and_port(address)
    if found is None:
        # Another target that gRPC knows.
        return False
    host, _ = found
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def check_free(address: str, otherwise: str = "choose another port") -> None:
    """Refuses a port that another process listens on.

    Args:
        address: host:port.
        otherwise: what can be done but for ending that process.

    Raises:
        AddressError: the port is in use, or the host is not this machine's.
    """
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressError(
                    f"port {port} on {host} is in use by another process: end it or {otherwise}"
                ) from error
            raise AddressError(f"cannot listen on {address}: {error.strerror}") from error


class Server:
    """A server with health, reflection, the guard, and an orderly end.

    Args:
        settings: where to listen, TLS, drain time.
        log: the service's log.
        services: full names of the services that `register` adds, for reflection and health.
        register: adds the servicers to the server.
        maximum_concurrent_rpcs: calls beyond it are refused with RESOURCE_EXHAUSTED; None: no bound.
        options: of its connections.
        calls: whether the process calls other services.
        instance_id: which start of which process; for the log.

    Raises:
        AddressError: the address is in use, exposed without TLS, or none.
        ValueError: a TLS file cannot be used.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        log: structlog.typing.FilteringBoundLogger,
        services: Sequence[str],
        register: Callable[[aio.Server], Any],
        maximum_concurrent_rpcs: int | None = None,
        options: Options = OPTIONS,
        *,
        calls: bool = True,
        instance_id: str = "",
    ) -> None:
        check_exposure(settings.listen, tls=settings.tls)
        check_free(settings.listen)
        self._settings = settings
        self._log = log
        self._services = services
        self._instance_id = instance_id
        self._server = aio.server(options=options, maximum_concurrent_rpcs=maximum_concurrent_rpcs)
        guarded: Any = guard.GuardedServer(self._server, guard.Guard(guard.authentication(settings), log))
        register(guarded)
        self.certificate = own_certificate(settings, log, calls=calls)
        """What it shows to its callers; None: it is without TLS."""
        self._descriptors = Descriptors(log)
        self._watching: list[asyncio.Task[None]] = []
        self._health = Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guarded)
        guarded.add_generic_rpc_handlers(reflection.handlers((*services, SERVICE_NAME)))
        if settings.channelz:
            channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.aio.ChannelzServicer(), guarded)
        if self.certificate is not None:
            port = self._server.add_secure_port(settings.listen, self.certificate.credentials())
        else:
            port = self._server.add_insecure_port(settings.listen)
        host, _ = split_address(settings.listen)
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        """host:port that it listens on."""

    @property
    def advertised(self) -> str:
        """host:port under which others reach it.

        Raises:
            AddressError: it is none that others could dial.
        """
        address = self._settings.advertise or self.address
        if is_unspecified(address):
            raise AddressError(
                f"{address} is no address that others can dial: set CROSSFADE_ADVERTISE to the name and port under "
                "which they reach this service, as in router-1.example.org:8500"
            )
        return address

    async def start(self) -> None:
        """Starts to serve; health is NOT_SERVING until `set_serving`."""
        self.set_serving(False)
        await self._server.start()
        self._watching.append(asyncio.create_task(begun_again(self._descriptors.watch, self._log)))
        if self.certificate is not None:
            self._watching.append(asyncio.create_task(self.certificate.watch()))
        self._log.info("serving", address=self.address, release=release(), instance_id=self._instance_id)

    def set_serving(self, serving: bool, *services: str) -> None:
        """Sets what grpc.health.v1 answers, for the named services or for the whole server and each of its own."""
        for service in services or ("", *self._services):
            self._health.set(service, serving=serving)

    def series(self) -> list[Snapshot]:
        """What it measures of itself."""
        return [] if self.certificate is None else self.certificate.series()

    async def stop(self) -> None:
        """Takes no new calls and waits up to `drain_seconds` for those in flight."""
        self._health.end()
        await self._server.stop(self._settings.drain_seconds)
        for watching in self._watching:
            watching.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)


async def run_until_signal(
    start: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    log: structlog.typing.FilteringBoundLogger,
) -> None:
    """Starts, waits for SIGTERM, SIGINT, or SIGHUP (its terminal is closed), and stops; says so in the log."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[float] = loop.create_future()

    def end(number: signal.Signals) -> None:
        if not ended.done():
            log.info("ending", signal=number.name)
            ended.set_result(loop.time())

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup has its program ignore the end of the terminal.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end, number)
    try:
        await start()
        # What imports and wiring left behind lives for ever, and need not be looked at again at each collection.
        gc.collect()
        gc.freeze()
        await ended
    finally:
        await stop()
    log.info("ended", seconds=round(loop.time() - ended.result(), 3))
