"""What happens around every RPC: who is calling, may they, and what a failure looks like to them."""

from __future__ import annotations

import contextvars
import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import aio

from crossfade.connection import USER_KEY
from services.common import statuses
from services.common.errors import (
    CrossfadeError,
    InternalError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from services.common.identity import LOCAL, Principal, authorize, certificate_principal, local_principal
from services.common.refusals import Refusals
from services.common.settings import ServiceSettings

_current: Final[contextvars.ContextVar[Principal]] = contextvars.ContextVar("principal", default=LOCAL)

Metadata = Sequence[tuple[str, str | bytes]]
Read = Callable[[Any], Any]
Authenticate = Callable[["aio.ServicerContext[Any, Any]", Metadata], Principal]

_metadata: Final[contextvars.ContextVar[Metadata]] = contextvars.ContextVar("metadata", default=())
_time_left: Final[contextvars.ContextVar[Callable[[], float | None]]] = contextvars.ContextVar(
    "time_left", default=lambda: None
)


def current_principal() -> Principal:
    """Who made the call that is being handled."""
    return _current.get()


def current_metadata() -> Metadata:
    """What the caller of the call that is being handled sent along; grpc makes it anew at each look."""
    return _metadata.get()


def is_late() -> bool:
    """Whether the time that its caller gave the call that is being handled is over."""
    return _time_left.get()() == 0.0


def authenticate_local(_: aio.ServicerContext[Any, Any], metadata: Metadata) -> Principal:
    """A local trial believes the name that the caller gives, and gives every role."""
    for key, value in metadata:
        if key == USER_KEY:
            return local_principal(str(value))
    return LOCAL


def authenticate_certificates(trust_domain: str) -> Authenticate:
    """Reads the URIs of the verified client certificate, those of the trust domain alone unless it is empty."""

    def authenticate(context: aio.ServicerContext[Any, Any], _: Metadata) -> Principal:
        uris = context.auth_context().get("peer_spiffe_id") or context.auth_context().get("x509_uri") or ()
        return certificate_principal((uri.decode() for uri in uris), trust_domain)

    return authenticate


def authentication(settings: ServiceSettings) -> Authenticate:
    """How a service with these settings knows its callers."""
    return authenticate_certificates(settings.trust_domain) if settings.tls else authenticate_local


def _as_it_is(request: Any) -> Any:
    return request


def _reader(deserialize: Read | None, method: str) -> Read:
    """Reads a method's request.

    Raises:
        InvalidArgumentError: MESSAGE_MALFORMED, when it reads.
    """
    if deserialize is None:
        return _as_it_is

    def read(body: Any) -> Any:
        try:
            return deserialize(body)
        except DecodeError as error:
            raise InvalidArgumentError(
                "MESSAGE_MALFORMED",
                f"the body's {len(body)} bytes are no request of {method}; see protos/ for what it takes",
            ) from error

    return read


class Guard:
    """Authenticates, authorizes and turns domain errors into statuses with details.

    It stands in front of each handler and is no interceptor: those cost grpc.aio some 25 µs a call.

    Args:
        authenticate: finds the principal of a call; raises a CrossfadeError when it cannot.
        log: gets one line per failure that nobody expected, and per caller that is refused one a minute.
    """

    def __init__(self, authenticate: Authenticate, log: structlog.typing.FilteringBoundLogger) -> None:
        self._authenticate = authenticate
        self._log = log
        self._refusals = Refusals(log)

    def guarded(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method (its full name), reached only by those who may call it."""
        written = {"response_serializer": handler.response_serializer}
        # One request is read behind the guard: grpc answers bytes that it cannot read with UNKNOWN, and logs each.
        read = _reader(handler.request_deserializer, method)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(handler.unary_unary, method, read), **written)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(handler.unary_stream, method, read), **written)
        codecs = {"request_deserializer": handler.request_deserializer, **written}
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._stream(handler.stream_stream, method), **codecs)
        return grpc.stream_unary_rpc_method_handler(self._unary(handler.stream_unary, method), **codecs)

    def _enter(self, method: str, context: aio.ServicerContext[Any, Any]) -> None:
        metadata: Metadata = context.invocation_metadata() or ()  # type: ignore[assignment]  # named tuples of the same
        _metadata.set(metadata)
        _time_left.set(context.time_remaining)
        principal = self._authenticate(context, metadata)
        _current.set(principal)
        authorize(principal, method)

    def _unary(self, behavior: Any, method: str, read: Read = _as_it_is) -> Any:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            try:
                self._enter(method, context)
                return await behavior(read(request), context)
            except aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a status
                await self._abort(context, method, error)

        return call

    def _stream(self, behavior: Any, method: str, read: Read = _as_it_is) -> Any:
        # A handler either yields its answers or is a coroutine that writes them (the Worker's streams).
        if not inspect.isasyncgenfunction(behavior):
            return self._unary(behavior, method, read)

        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                self._enter(method, context)
                async for response in behavior(read(request), context):
                    yield response
            except aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the one place where every failure becomes a status
                await self._abort(context, method, error)

        return call

    async def _abort(self, context: aio.ServicerContext[Any, Any], method: str, error: Exception) -> None:
        if context.done() or context.cancelled():
            # The caller's deadline was faster than the answer: nobody is there to be told, and nothing is wrong here.
            raise error
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            # Whoever has no name has not been let in as anybody.
            name = "" if isinstance(error, UnauthenticatedError) else current_principal().name
            self._refusals.note(name, method, context.peer() or "", error)
        await abort(context, in_domain(error, method, self._log))


class _GuardedHandlers(grpc.GenericRpcHandler):
    """Handlers behind a guard, made once per method."""

    def __init__(self, handlers: grpc.GenericRpcHandler, guard: Guard) -> None:
        self._handlers = handlers
        self._guard = guard
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method's guarded handler; None: it is none of these. Callers may invent such names, so none is kept."""
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None:
            handler = self._handlers.service(handler_call_details)
            if handler is None:
                return None
            guarded = self._guarded[method] = self._guard.guarded(handler, method)
        return guarded


class GuardedServer:
    """What servicers are added to: the server, as far as they need it, with the guard in front of all that they add.

    Args:
        server: serves.
        guard: lets calls in.
    """

    def __init__(self, server: aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds handlers behind the guard."""
        self._server.add_generic_rpc_handlers(tuple(_GuardedHandlers(one, self._guard) for one in generic_rpc_handlers))

    def add_registered_method_handlers(self, *_: Any) -> None:
        """Adds nothing: generated code hands the same handlers over a second time, and here they would be unguarded."""


def in_domain(error: Exception, method: str, log: structlog.typing.FilteringBoundLogger) -> CrossfadeError:
    """An error as a caller is told it: what nobody expected gets a number, under which the log has it.

    Args:
        error: what was raised.
        method: full name of the RPC.
        log: the service's.
    """
    if isinstance(error, CrossfadeError):
        return error
    number = uuid.uuid4().hex
    log.error("call failed", method=method, error_id=number, exc_info=error)
    return InternalError(
        "INTERNAL", f"internal error; the service's log has it under error_id {number}", error_id=number
    )


async def abort(context: aio.ServicerContext[Any, Any], error: CrossfadeError) -> None:
    """Ends a call with the error's status and details, beside what its handler has for the trailer."""
    trailer = (*(context.trailing_metadata() or ()), *statuses.trailer_of(statuses.details_of(error)))
    await context.abort(statuses.code_of(error), statuses.message_of(error), trailer)
