"""Roles and the table RPC × role."""

import pytest

from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import service_pb2
from crossfade.router.v1 import router_pb2
from crossfade.telemetry.v1 import telemetry_pb2
from services.common.errors import PermissionDeniedError, UnauthenticatedError
from services.common.identity import ALLOWED, Principal, Role, authorize, certificate_principal, local_principal

# What the Registry's contract is to allow, once more: V a viewer, P a publisher, O an operator, E the Evaluator,
# R a Router, W a Worker.
REGISTRY = {
    "CreateModel": "PO",
    "GetModel": "VPOERW",
    "ListModels": "VPOERW",
    "UpdateModel": "PO",
    "SetSegment": "O",
    "DeleteSegment": "O",
    "PublishVersion": "PO",
    "GetVersion": "VPOERW",
    "ListVersions": "VPOERW",
    "LoadVersion": "PO",
    "WithdrawVersion": "PO",
    "UndoLane": "OE",
    "StartRollout": "PO",
    "GetRollout": "VPOERW",
    "ListRollouts": "VPOERW",
    "AdvanceRollout": "OE",
    "PauseRollout": "OE",
    "ResumeRollout": "OE",
    "ApproveRollout": "O",
    "PromoteRollout": "OE",
    "RollbackRollout": "OE",
    "CancelRollout": "OE",
    "RecordAnalysis": "E",
    "ListAnalyses": "VPOERW",
    "GetMonitor": "VPOERW",
    "SetMonitor": "O",
    "RecordMonitor": "E",
    "ListEvents": "VPOERW",
    "ListWebhooks": "VPOERW",
    "RetryWebhook": "O",
    "DropDeliveries": "O",
    "WatchRoutes": "VOERW",
    "ReportInstance": "ERW",
    "ListInstances": "VPOERW",
}
LETTERS = {
    Role.VIEWER: "V",
    Role.PUBLISHER: "P",
    Role.OPERATOR: "O",
    Role.EVALUATOR: "E",
    Role.ROUTER: "R",
    Role.WORKER: "W",
}


def test_every_rpc_of_the_contracts_is_in_the_table() -> None:
    files = (service_pb2, predict_pb2, router_pb2, evaluator_pb2, telemetry_pb2)
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods <= ALLOWED.keys()


def test_deny_by_default() -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        authorize(local_principal("ana"), "/crossfade.registry.v1.RegistryService/DropEverything")
    assert caught.value.reason == "ROLE_MISSING"


@pytest.mark.parametrize(
    ("role", "method", "allowed"),
    [
        (Role.VIEWER, "GetModel", True),
        (Role.VIEWER, "PromoteRollout", False),
        (Role.PUBLISHER, "PublishVersion", True),
        (Role.PUBLISHER, "RollbackRollout", False),
        (Role.EVALUATOR, "RecordAnalysis", True),
        (Role.EVALUATOR, "PromoteRollout", True),
        (Role.EVALUATOR, "PublishVersion", False),
        (Role.OPERATOR, "RecordAnalysis", False),
        (Role.ROUTER, "WatchRoutes", True),
        (Role.CLIENT, "GetModel", False),
    ],
)
def test_registry_roles(role: Role, method: str, allowed: bool) -> None:
    principal = Principal("spiffe://crossfade/x/y", frozenset({role}))
    name = f"/crossfade.registry.v1.RegistryService/{method}"
    if allowed:
        authorize(principal, name)
    else:
        with pytest.raises(PermissionDeniedError, match=method):
            authorize(principal, name)


def test_every_rpc_of_the_registry_says_here_who_may_call_it() -> None:
    (service,) = service_pb2.DESCRIPTOR.services_by_name.values()
    assert {method.name for method in service.methods} == REGISTRY.keys()


@pytest.mark.parametrize("method", REGISTRY)
def test_an_rpc_of_the_registry_is_for_these_roles_and_no_others(method: str) -> None:
    def may(role: Role) -> bool:
        try:
            authorize(
                Principal("spiffe://crossfade/x/y", frozenset({role})),
                f"/crossfade.registry.v1.RegistryService/{method}",
            )
        except PermissionDeniedError:
            return False
        return True

    assert {role for role in Role if may(role)} == {role for role, one in LETTERS.items() if one in REGISTRY[method]}


def test_a_certificate_says_its_role_and_name() -> None:
    principal = certificate_principal(["https://other", "spiffe://crossfade/operator+publisher/ana"])
    assert principal == Principal(
        "spiffe://crossfade/operator+publisher/ana", frozenset({Role.OPERATOR, Role.PUBLISHER})
    )


def test_certificates_of_another_trust_domain_are_nobodys() -> None:
    uris = ["spiffe://elsewhere/operator/eve", "spiffe://crossfade/viewer/ana"]
    assert certificate_principal(uris, "crossfade").roles == {Role.VIEWER}
    with pytest.raises(UnauthenticatedError, match="spiffe://crossfade/ROLE/NAME"):
        certificate_principal(uris[:1], "crossfade")


@pytest.mark.parametrize("uris", [[], ["https://x/operator"], ["spiffe://crossfade"], ["spiffe://crossfade/king/ana"]])
def test_a_certificate_without_a_role_is_nobody(uris: list[str]) -> None:
    with pytest.raises(UnauthenticatedError):
        certificate_principal(uris)
