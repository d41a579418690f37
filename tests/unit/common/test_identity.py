"""Roles and the table RPC × role."""

import pytest

from crossfade.evaluator.v1 import evaluator_pb2
from crossfade.predict.v1 import predict_pb2
from crossfade.registry.v1 import service_pb2
from crossfade.router.v1 import router_pb2
from crossfade.telemetry.v1 import telemetry_pb2
from services.common.errors import PermissionDeniedError, UnauthenticatedError
from services.common.identity import ALLOWED, Principal, Role, authorize, certificate_principal, local_principal


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
