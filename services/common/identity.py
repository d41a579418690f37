"""Who may call what: roles, the table RPC × role, and how a call's principal is found.

Deny by default: a method that the table does not name is refused to everyone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from services.common.errors import PermissionDeniedError, UnauthenticatedError


class Role(StrEnum):
    """What a principal is allowed to be."""

    VIEWER = "viewer"
    PUBLISHER = "publisher"
    OPERATOR = "operator"
    REGISTRY = "registry"
    EVALUATOR = "evaluator"
    ROUTER = "router"
    WORKER = "worker"
    CLIENT = "client"
    TESTER = "tester"
    FEEDBACK = "feedback"


_LOCAL: Final = "local:"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling.

    Attributes:
        name: what stands in events: `local:ana`, `spiffe://crossfade/operator/ana`.
        roles: what they may be.
    """

    name: str
    roles: frozenset[Role]

    @property
    def certified_name(self) -> str:
        """The name, if a certificate states it; empty: in a local trial, where callers give themselves any."""
        return "" if self.name.startswith(_LOCAL) else self.name


_EVERYONE: Final = frozenset(Role)
_READERS: Final = frozenset({Role.VIEWER, Role.PUBLISHER, Role.OPERATOR, Role.EVALUATOR, Role.ROUTER, Role.WORKER})
_PUBLISHERS: Final = frozenset({Role.PUBLISHER, Role.OPERATOR})
_OPERATORS: Final = frozenset({Role.OPERATOR})
_JUDGES: Final = frozenset({Role.OPERATOR, Role.EVALUATOR})
_CALLERS: Final = frozenset({Role.CLIENT, Role.TESTER, Role.ROUTER})
SEE_PROCESSES: Final = _READERS | {Role.TESTER}
"""Who may ask what a pin gets, and is told where a version is served: a caller who chooses the version is to be known
as one who does, since his calls are left out of the gates."""

_REGISTRY: Final = "/crossfade.registry.v1.RegistryService/"
_PREDICT: Final = "/crossfade.predict.v1.PredictionService/"
_INFERENCE: Final = "/inference.GRPCInferenceService/"
GET_METRICS: Final = "/crossfade.telemetry.v1.TelemetryService/GetMetrics"

ALLOWED: Final[Mapping[str, frozenset[Role]]] = {
    _REGISTRY + "CreateModel": _PUBLISHERS,
    _REGISTRY + "GetModel": _READERS,
    _REGISTRY + "ListModels": _READERS,
    _REGISTRY + "UpdateModel": _PUBLISHERS,
    _REGISTRY + "SetSegment": _OPERATORS,
    _REGISTRY + "DeleteSegment": _OPERATORS,
    _REGISTRY + "PublishVersion": _PUBLISHERS,
    _REGISTRY + "GetVersion": _READERS,
    _REGISTRY + "ListVersions": _READERS,
    _REGISTRY + "LoadVersion": _PUBLISHERS,
    _REGISTRY + "WithdrawVersion": _PUBLISHERS,
    _REGISTRY + "UndoLane": _JUDGES,
    _REGISTRY + "StartRollout": _PUBLISHERS,
    _REGISTRY + "GetRollout": _READERS,
    _REGISTRY + "ListRollouts": _READERS,
    _REGISTRY + "AdvanceRollout": _JUDGES,
    _REGISTRY + "PauseRollout": _JUDGES,
    _REGISTRY + "ResumeRollout": _JUDGES,
    _REGISTRY + "ApproveRollout": _OPERATORS,
    _REGISTRY + "PromoteRollout": _JUDGES,
    _REGISTRY + "RollbackRollout": _JUDGES,
    _REGISTRY + "CancelRollout": _JUDGES,
    _REGISTRY + "RecordAnalysis": frozenset({Role.EVALUATOR}),
    _REGISTRY + "ListAnalyses": _READERS,
    _REGISTRY + "GetMonitor": _READERS,
    _REGISTRY + "SetMonitor": _OPERATORS,
    _REGISTRY + "RecordMonitor": frozenset({Role.EVALUATOR}),
    _REGISTRY + "ListEvents": _READERS,
    _REGISTRY + "ListWebhooks": _READERS,
    _REGISTRY + "RetryWebhook": _OPERATORS,
    _REGISTRY + "DropDeliveries": _OPERATORS,
    _REGISTRY + "WatchRoutes": frozenset({Role.VIEWER, Role.OPERATOR, Role.ROUTER, Role.WORKER, Role.EVALUATOR}),
    _REGISTRY + "ReportInstance": frozenset({Role.ROUTER, Role.WORKER, Role.EVALUATOR}),
    _REGISTRY + "ListInstances": _READERS,
    _PREDICT + "Predict": _CALLERS,
    _PREDICT + "PredictStream": _CALLERS,
    _PREDICT + "Feedback": frozenset({Role.CLIENT, Role.FEEDBACK, Role.ROUTER}),
    _INFERENCE + "ModelInfer": _CALLERS,
    _INFERENCE + "ModelStreamInfer": _CALLERS,
    _INFERENCE + "ServerLive": _EVERYONE,
    _INFERENCE + "ServerReady": _EVERYONE,
    _INFERENCE + "ModelReady": _EVERYONE,
    _INFERENCE + "ServerMetadata": _EVERYONE,
    _INFERENCE + "ModelMetadata": _EVERYONE,
    "/crossfade.router.v1.RouterService/GetRoute": _READERS | _CALLERS,
    "/crossfade.router.v1.RouterService/ListTraces": _READERS,
    "/crossfade.router.v1.RouterService/NotePairs": frozenset({Role.ROUTER}),
    "/crossfade.evaluator.v1.EvaluatorService/CheckPolicy": _READERS,
    "/crossfade.evaluator.v1.EvaluatorService/Forecast": _READERS,
    "/crossfade.evaluator.v1.EvaluatorService/Replay": _READERS,
    GET_METRICS: frozenset({Role.VIEWER, Role.OPERATOR, Role.EVALUATOR, Role.WORKER}),
    "/grpc.health.v1.Health/Check": _EVERYONE,
    "/grpc.health.v1.Health/Watch": _EVERYONE,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _EVERYONE,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _EVERYONE,
    "/grpc.channelz.v1.Channelz/GetTopChannels": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetServers": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetServer": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetServerSockets": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetChannel": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetSubchannel": _OPERATORS,
    "/grpc.channelz.v1.Channelz/GetSocket": _OPERATORS,
}


def authorize(principal: Principal, method: str) -> None:
    """Refuses a principal that has none of the roles that may call `method`.

    Args:
        principal: who is calling.
        method: `/package.Service/Method`.

    Raises:
        PermissionDeniedError: reason ROLE_MISSING, with the roles that would do in the metadata.
    """
    allowed = ALLOWED.get(method, frozenset())
    if principal.roles.isdisjoint(allowed):
        wanted = ", ".join(sorted(allowed)) or "none"
        raise PermissionDeniedError(
            "ROLE_MISSING",
            f"{principal.name} may not call {method}; it takes one of these roles: {wanted}",
            roles=wanted,
        )


def require_role(principal: Principal, role: Role, to: str) -> None:
    """Refuses a principal without a role that what it asks for takes, where the method alone does not say.

    Raises:
        PermissionDeniedError: reason ROLE_MISSING.
    """
    if role not in principal.roles:
        raise PermissionDeniedError(
            "ROLE_MISSING", f"{principal.name} may not {to}; it takes the role {role}", roles=str(role)
        )


def require_one(principal: Principal, roles: frozenset[Role], to: str) -> None:
    """Refuses a principal that has none of several roles that what it asks for takes.

    Raises:
        PermissionDeniedError: reason ROLE_MISSING.
    """
    if principal.roles.isdisjoint(roles):
        wanted = ", ".join(sorted(roles))
        raise PermissionDeniedError(
            "ROLE_MISSING", f"{principal.name} may not {to}; it takes one of these roles: {wanted}", roles=wanted
        )


LOCAL: Final = Principal(f"{_LOCAL}user", _EVERYONE)
"""The caller of a local trial when it does not say its name."""


def local_principal(user: str) -> Principal:
    """`local:<user>`, with every role: for servers that listen on loopback without TLS."""
    return Principal(f"{_LOCAL}{user}", _EVERYONE) if user else LOCAL


def certificate_principal(uris: Iterable[str], trust_domain: str = "") -> Principal:
    """The principal in a client certificate's URIs: `spiffe://<trust domain>/<role>/<name>`.

    Source: SPIFFE ID, section 2; the roles are the path's first part, joined by '+' when there are several.

    Args:
        uris: of the certificate.
        trust_domain: the one that is believed; empty: whatever the CA signs.

    Raises:
        UnauthenticatedError: no URI of this form, or an unknown role.
    """
    for uri in uris:
        parts = urlsplit(uri)
        path = parts.path.strip("/").split("/")
        if parts.scheme != "spiffe" or not path[0] or (trust_domain and parts.netloc != trust_domain):
            continue
        try:
            roles = frozenset(Role(name) for name in path[0].split("+"))
        except ValueError as error:
            raise UnauthenticatedError(
                "ROLE_UNKNOWN", f"the certificate's URI {uri} names no role of Crossfade ({', '.join(Role)})"
            ) from error
        return Principal(uri, roles)
    raise UnauthenticatedError(
        "CERTIFICATE_WITHOUT_ROLE",
        f"the client certificate has no URI of the form spiffe://{trust_domain or 'DOMAIN'}/ROLE/NAME; "
        "`crossfade certs dev` makes such certificates",
    )
