"""A process's counts, and the place that they are of."""

from crossfade.manifest import FileEntry, Golden, Kind, Manifest, Task, Tolerance
from crossfade.reference_profile import Feature, FeatureKind, Profile
from crossfade.tensor_spec import DType, Signature, TensorSpec
from services.common.telemetry import catalog
from services.common.telemetry.store import MetricStore, Snapshot
from services.worker.domain import Traffic
from services.worker.front_end.counting import Counting
from services.worker.front_end.lanes import Place

LIVE = Traffic.LIVE


def profile(edge: float = 0.5, name: str = "a") -> Profile:
    feature = Feature(name, 0, FeatureKind.NUMERIC, (edge,), (0.5, 0.5), -10.0, 10.0)
    return Profile.of("x", 100, (feature,), None, None)


def manifest() -> Manifest:
    signature = Signature((TensorSpec("x", DType.FP32, (-1, 2)),), (TensorSpec("scores", DType.FP32, (-1, 3)),))
    return Manifest(
        format_version=1,
        created_by="test",
        kind=Kind.TORCH_EXPORT,
        torch="2.13",
        program="p",
        task=Task.CLASSIFICATION,
        signature=signature,
        max_batch=8,
        classes=("low", "middle", "high"),
        positive_class=None,
        scores="scores",
        profile=profile(),
        golden=Golden("g", 1),
        tolerance=Tolerance(0.1, 0.1),
        files=(FileEntry("p", "0" * 64, 1), FileEntry("g", "0" * 64, 1)),
    )


def counting() -> Counting:
    return Counting(MetricStore(), "m", "v1", manifest(), "fp32")


def place(segment: str = "", epoch: int = 1, slice_number: int = 1, traffic: Traffic = LIVE) -> Place:
    return Place(traffic, segment, epoch, slice_number, refused=False, traffic_number=1)


def found(snapshots: list[Snapshot], metric: catalog.Metric) -> dict[tuple[str, ...], Snapshot]:
    return {one.attributes: one for one in snapshots if one.metric is metric}
