"""Reports of processes that are refused, and which field is named; what is kept of what they say."""

import uuid

import pytest

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry import views
from registry.servicer import fleet_validation
from services.common.errors import InvalidArgumentError


def instance(**changes: object) -> service_pb2.ReportInstanceRequest:
    made = resources_pb2.Instance(instance_id=str(uuid.uuid4()), kind=resources_pb2.INSTANCE_KIND_WORKER, address="h:1")
    made.MergeFrom(resources_pb2.Instance(**changes))  # type: ignore[arg-type]  # fields, by name
    return service_pb2.ReportInstanceRequest(instance=made)


READY = resources_pb2.Serving(
    model="m",
    version="v1",
    traffic=model_pb2.TRAFFIC_LIVE,
    address="h:2",
    state=resources_pb2.SERVING_STATE_READY,
)

SHADOWED, STATELESS, HOMELESS = (resources_pb2.Serving() for _ in range(3))


for one in (SHADOWED, STATELESS, HOMELESS):
    one.CopyFrom(READY)


SHADOWED.traffic = model_pb2.TRAFFIC_SHADOW


STATELESS.ClearField("state")


HOMELESS.ClearField("address")


@pytest.mark.parametrize(
    ("field", "report"),
    [
        ("instance.instance_id", instance(instance_id="w1")),
        ("instance.kind", instance(kind=9)),
        ("instance.address", instance(address="nowhere")),
        ("instance.serving[0].traffic", instance(serving=[SHADOWED])),
        ("instance.serving[0].state", instance(serving=[STATELESS])),
        ("instance.serving[0].address", instance(serving=[HOMELESS])),
        ("instance.serving[1]", instance(serving=[READY, READY])),
    ],
)
def test_wrong_reports(field: str, report: service_pb2.ReportInstanceRequest) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        fleet_validation.report(report)
    assert caught.value.field == field


def test_lease_lengths() -> None:
    report = instance(serving=[READY])
    assert fleet_validation.report(report) == 15.0
    report.ttl.FromMilliseconds(1500)
    assert fleet_validation.report(report) == 1.5
    report.ttl.FromSeconds(601)
    with pytest.raises(InvalidArgumentError):
        fleet_validation.report(report)


def test_what_a_worker_says_is_kept_without_control_characters() -> None:
    report = resources_pb2.LoadReport(device="cpu\x1b", precision_reason="\x9bA")
    said = resources_pb2.Serving(
        state=resources_pb2.SERVING_STATE_FAILED, error="a\x1b[2K\nb", error_code="E\x7f", load_report=report
    )
    kept = views.serving_to_proto(views.serving_from_proto(said))
    assert (kept.error, kept.error_code) == ("a�[2K\nb", "E�")
    assert (kept.load_report.device, kept.load_report.precision_reason) == ("cpu�", "�A")


def test_an_address_has_no_control_characters() -> None:
    made = instance()
    made.instance.address = "worker\x1b[2K:8600"
    with pytest.raises(InvalidArgumentError) as caught:
        fleet_validation.report(made)
    assert caught.value.field == "instance.address"
