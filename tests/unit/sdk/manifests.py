"""Manifests, and what is changed in what is written of them."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from crossfade.architecture import Architecture
from crossfade.manifest import FileEntry, Golden, Kind, Manifest, Task, Tolerance, dumps
from crossfade.reference_profile import Feature, FeatureKind, Profile
from crossfade.tensor_spec import DType, Signature, TensorSpec

Change = Callable[[dict[str, Any]], None]


def example() -> Manifest:
    features = (
        Feature("age", 0, FeatureKind.NUMERIC, (30.0, 50.5), (0.25, 0.5, 0.25), 0.0, 100.0),
        Feature("plan", 2, FeatureKind.CATEGORICAL, (1.0, 2.0), (0.7, 0.3, 0.0), None, None),
    )
    return Manifest(
        format_version=1,
        created_by="crossfade 0.1.0",
        kind=Kind.TORCH_EXPORT,
        torch="2.13.0+cpu",
        program="program.pt2",
        task=Task.CLASSIFICATION,
        signature=Signature(
            inputs=(TensorSpec("input", DType.FP32, (-1, 3)),),
            outputs=(TensorSpec("output", DType.FP32, (-1, 2)),),
        ),
        max_batch=1024,
        classes=("keep", "churn"),
        positive_class="churn",
        scores="output",
        profile=Profile.of("input", 1000, features, {"keep": 0.8, "churn": 0.2}, None),
        golden=Golden("golden.npz", 8),
        tolerance=Tolerance(rtol=0.01, atol=0.05),
        files=(FileEntry("golden.npz", "0" * 64, 100), FileEntry("program.pt2", "a" * 64, 2000)),
    )


def example_weights() -> Manifest:
    return dataclasses.replace(
        example(),
        format_version=2,
        kind=Kind.SAFETENSORS,
        program="weights.safetensors",
        files=(FileEntry("golden.npz", "0" * 64, 100), FileEntry("weights.safetensors", "a" * 64, 2000)),
        architecture=Architecture("mlp", {"widths": [3, 8, 2], "rate": 0.5, "deep": {"on": True, "none": None}}),
        by_name=True,
    )


def written(change: Change, manifest: Manifest | None = None) -> bytes:
    value = json.loads(dumps(manifest or example()))
    change(value)
    return json.dumps(value).encode()


def setting(path: str, value: object) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = manifest
        for key in parents:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(last) if isinstance(target, list) else last] = value

    return change


def deleting(key: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        del manifest[key]

    return change
