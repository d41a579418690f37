"""What processes may say of themselves, and which of them are asked for; every refusal names the field."""

import re
import uuid
from typing import Final

from google.protobuf import duration_pb2

from crossfade.common.v1 import model_pb2
from crossfade.enum_names import enum_name
from crossfade.quantities import format_duration
from crossfade.registry.v1 import resources_pb2, service_pb2
from registry.servicer import validation
from registry.servicer.policy_validation import refuse

_ADDRESS: Final = re.compile(r"[^\s/\0-\x1f\x7f-\x9f]+:[0-9]{1,5}\Z")
_TTL_DEFAULT: Final = 15.0
_SERVING_LIMIT: Final = 10_000


def instance_kind(value: resources_pb2.InstanceKind.ValueType) -> str:
    """A kind of processes; empty is every kind."""
    if value not in resources_pb2.InstanceKind.values():
        raise refuse("kind", "is unknown; use ROUTER, WORKER or EVALUATOR, or none for all")
    return enum_name(resources_pb2.InstanceKind.DESCRIPTOR, value) if value else ""


def instance_id(value: str) -> str:
    """A process's UUID in its usual form: one process is one instance, and pages of lists begin after ids.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise refuse("instance.instance_id", f"{value!r} is not a UUID") from error


def report(request: service_pb2.ReportInstanceRequest) -> float:
    """Checks a process's report; answers the length of its lease in seconds."""
    instance = request.instance
    instance_id(instance.instance_id)
    if instance.kind not in resources_pb2.InstanceKind.values()[1:]:
        raise refuse("instance.kind", "is required: ROUTER, WORKER or EVALUATOR")
    if not _ADDRESS.match(instance.address):
        raise refuse("instance.address", f"{instance.address!r} is not HOST:PORT")
    if len(instance.serving) > _SERVING_LIMIT:
        raise refuse("instance.serving", f"has {len(instance.serving)} entries; at most {_SERVING_LIMIT} are taken")
    if instance.serving and instance.kind != resources_pb2.INSTANCE_KIND_WORKER:
        raise refuse("instance.serving", "is of Workers alone; other processes serve no version")
    seen = set()
    for index, serving in enumerate(instance.serving):
        _check_serving(f"instance.serving[{index}]", serving)
        key = (serving.model, serving.version, serving.traffic)
        if key in seen:
            raise refuse(f"instance.serving[{index}]", "is there twice; one entry per model, version and traffic")
        seen.add(key)
    return _ttl(request.ttl) if request.HasField("ttl") else _TTL_DEFAULT


def _check_serving(field: str, serving: resources_pb2.Serving) -> None:
    validation.identifier(f"{field}.model", serving.model)
    validation.identifier(f"{field}.version", serving.version)
    if serving.traffic not in (model_pb2.TRAFFIC_LIVE, model_pb2.TRAFFIC_CONTROL):
        raise refuse(f"{field}.traffic", "must be LIVE or CONTROL")
    if serving.state not in resources_pb2.ServingState.values()[1:]:
        raise refuse(f"{field}.state", "is required: LOADING, READY, FAILED or DRAINING")
    ready = serving.state == resources_pb2.SERVING_STATE_READY
    if (ready or serving.address) and not _ADDRESS.match(serving.address):
        raise refuse(f"{field}.address", f"{serving.address!r} is not HOST:PORT")


def _ttl(value: duration_pb2.Duration) -> float:
    seconds = value.seconds + value.nanos / 1e9
    if not 1.0 <= seconds <= 600.0:
        raise refuse("ttl", f"is {format_duration(seconds)}; use 1s to 10m")
    return seconds
