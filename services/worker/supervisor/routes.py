"""Protobuf at the Worker's edge to the Registry: routes in, what is served out."""

from collections.abc import Iterable, Sequence
from typing import Final

from crossfade.common.v1 import model_pb2
from crossfade.registry.v1 import resources_pb2
from services.common.text import fitting
from services.worker.domain import (
    MOST_SAID,
    TRAFFIC_NUMBERS,
    ArtifactRef,
    Lane,
    LoadReport,
    SignatureRef,
    TensorRef,
    Traffic,
    WantedVersion,
)
from services.worker.supervisor.entries import Serving
from services.worker.supervisor.plan import Phase

_KINDS: Final = {number: traffic for traffic, number in TRAFFIC_NUMBERS.items()}
_STATES: Final = {
    Phase.FETCHING: resources_pb2.SERVING_STATE_LOADING,
    Phase.WAITING: resources_pb2.SERVING_STATE_LOADING,
    Phase.FETCHED: resources_pb2.SERVING_STATE_LOADING,
    Phase.LOADING: resources_pb2.SERVING_STATE_LOADING,
    Phase.READY: resources_pb2.SERVING_STATE_READY,
    Phase.DRAINING: resources_pb2.SERVING_STATE_DRAINING,
    # It is about to be started again; the second crash of any but a stable version is reported as FAILED.
    Phase.CRASHED: resources_pb2.SERVING_STATE_LOADING,
    Phase.FAILED: resources_pb2.SERVING_STATE_FAILED,
}


def lanes_of(routes: Iterable[resources_pb2.LaneRoutes]) -> list[Lane]:
    """What a Worker needs of the routes."""
    return [
        Lane(
            model=route.model,
            segment=route.segment,
            epoch=route.epoch,
            slice_seconds=route.slice_seconds,
            wanted=tuple(_wanted(version) for version in route.wanted),
            failed_versions=frozenset(route.failed_versions),
            stable_version=route.stable_version,
            test_version=route.test_version,
            watched=tuple(route.watched_segments),
        )
        for route in routes
    ]


def _wanted(version: resources_pb2.WantedVersion) -> WantedVersion:
    signature = version.signature
    kinds = [_KINDS[number] for number in version.traffic if number in _KINDS]
    return WantedVersion(
        version=version.version,
        artifact=ArtifactRef(version.artifact.uri, version.artifact.digest, version.artifact.size_bytes),
        signature=SignatureRef(
            inputs=_tensors(signature.inputs),
            outputs=_tensors(signature.outputs),
            task=signature.task,
            classes=tuple(signature.classes),
            parts=tuple(signature.parts),
            state=tuple(signature.state),
        ),
        traffic=tuple(kind for kind in kinds if kind in (Traffic.LIVE, Traffic.CONTROL)) or (Traffic.LIVE,),
    )


def _tensors(specs: Sequence[model_pb2.TensorSpec]) -> tuple[TensorRef, ...]:
    return tuple(TensorRef(spec.name, spec.datatype, tuple(spec.shape)) for spec in specs)


def instance_of(instance_id: str, address: str, servings: Iterable[Serving]) -> resources_pb2.Instance:
    """What the Worker reports of itself."""
    return resources_pb2.Instance(
        instance_id=instance_id,
        kind=resources_pb2.INSTANCE_KIND_WORKER,
        address=address,
        serving=[_serving(serving) for serving in servings],
    )


def _serving(serving: Serving) -> resources_pb2.Serving:
    key = serving.key
    message = resources_pb2.Serving(
        model=key.model,
        version=key.version,
        traffic=model_pb2.Traffic.ValueType(TRAFFIC_NUMBERS[key.traffic]),
        address=serving.address,
        state=_STATES[serving.phase],
        # By now it may be a crashed process's own words.
        error=fitting(serving.error, MOST_SAID),
        error_code=serving.code,
    )
    if serving.report is not None:
        message.load_report.CopyFrom(_load_report(serving.report))
    return message


def _load_report(report: LoadReport) -> resources_pb2.LoadReport:
    return resources_pb2.LoadReport(
        device=report.device,
        precision=report.precision,
        load_seconds=report.load_seconds,
        full_seconds=report.full_seconds,
        mixed_seconds=report.mixed_seconds,
        timed_rows=report.timed_rows,
        golden_error=report.golden_error,
        mixed_error=report.mixed_error,
        precision_reason=fitting(report.precision_reason, MOST_SAID),
        architecture=report.architecture,
        max_rows=report.max_rows,
    )
