"""Artifacts that a Worker cannot load, and what it says of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossfade.tensor_spec import DType, TensorSpec
from tests.fakes.models import expected_scores, golden_file, reference_rows, rewrite
from tests.fakes.registry import FakeRegistry, lane, wanted
from tests.support.wait import until


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("program.pt2", lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "program.pt2 was altered"),
        ("golden.npz", lambda data: data + b"x", "golden.npz is longer"),
        ("model.json", lambda data: data.replace(b"scores", b"scorez"), "model.json is not the published one"),
    ],
)
async def test_an_artifact_that_was_changed(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, tmp_path: Path, file: str, change: Any, words: str
) -> None:
    copied = rewrite(artifacts(), tmp_path / "copy", {})
    path = copied.artifact.path / file
    data = path.read_bytes()
    path.write_bytes(change(data) if change(data) != data else data + b" ")
    await registry.set_lanes(lane("scores", wanted("v1", copied.uri, copied.artifact.digest, copied.artifact.manifest)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, serving.address) == ("LOAD_FAILED", "")
    assert words in serving.error


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda right: right * 1.5 + 1.0, "times the tolerance"),
        (lambda right: right * np.float32("nan"), "golden outputs hold NaN"),
    ],
)
async def test_golden_answers_that_do_not_agree(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path, scores: Any, words: str
) -> None:
    rows = reference_rows()[: artifacts().artifact.manifest.golden.rows]
    changed = rewrite(artifacts(), tmp_path / "x", {"golden.npz": golden_file(rows, scores(expected_scores(rows)))})
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.error_code == "VERIFY_FAILED"
    assert words in serving.error


async def test_a_model_that_answers_nan_to_golden_rows(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    rows = reference_rows()[: artifacts(nan_above=50.0).artifact.manifest.golden.rows].copy()
    rows[0, 0] = 60.0
    files = {"golden.npz": golden_file(rows, expected_scores(rows))}
    changed = rewrite(artifacts(nan_above=50.0), tmp_path / "x", files)
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "hold NaN" in serving.error) == ("VERIFY_FAILED", True)


async def test_a_program_that_is_none(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    changed = rewrite(artifacts(), tmp_path / "x", {"program.pt2": b"cos\nsystem\n(S'id'\ntR."})
    other = want(artifacts(scale=3.0), "v2")
    await registry.set_lanes(lane("scores", want(changed), other))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "no archive of torch.export.save" in serving.error
    await until(lambda: registry.state("scores", "v2") == "READY", 60)


@pytest.mark.parametrize("shape", [(-1, 10**15), (-1, 4, *[1] * 100)])
async def test_a_signature_whose_rows_cannot_be_laid_out(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    packaged = artifacts()
    manifest = packaged.artifact.manifest
    wide = replace(manifest.signature, inputs=(TensorSpec("input", DType.FP32, shape),))
    artifact = replace(packaged.artifact, manifest=replace(manifest, signature=wide))
    changed = rewrite(replace(packaged, artifact=artifact), tmp_path / "x", {})
    await registry.set_lanes(lane("scores", want(changed)))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (serving.error_code, "cannot be laid out" in serving.error) == ("LOAD_FAILED", True)


async def test_what_is_said_of_an_artifact_is_no_longer_than_a_report_can_carry(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    packaged = artifacts()
    manifest = packaged.artifact.manifest
    many = tuple(TensorSpec(f"output_{number}", DType.FP32, (-1, 3)) for number in range(2_000))
    signature = replace(manifest.signature, outputs=(*manifest.signature.outputs, *many))
    artifact = replace(packaged.artifact, manifest=replace(manifest, signature=signature))
    changed = rewrite(replace(packaged, artifact=artifact), tmp_path / "x", {})
    version = want(changed)
    version.signature.outputs[0].name = "other"
    await registry.set_lanes(lane("scores", version))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "outputs are not those that were published" in serving.error
    assert len(serving.error) < 3_000


async def test_another_signature_than_published(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any
) -> None:
    version = want(artifacts())
    version.signature.classes[0] = "other"
    await registry.set_lanes(lane("scores", version))
    await start_worker()
    await until(lambda: registry.state("scores", "v1") == "FAILED", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert "classes are not those that were published" in serving.error


async def test_a_source_that_cannot_be_reached_is_no_failure_and_keeps_nobody_waiting(
    registry: FakeRegistry, start_worker: Any, artifacts: Any, want: Any, tmp_path: Path
) -> None:
    missing = wanted("v1", (tmp_path / "later").as_uri(), artifacts().artifact.digest, artifacts().artifact.manifest)
    await registry.set_lanes(lane("scores", missing, want(artifacts(scale=3.0), "v2")))
    await start_worker()
    await until(lambda: registry.state("scores", "v2") == "READY", 60)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert (registry.state("scores", "v1"), serving.error_code) == ("LOADING", "")
    assert serving.error.endswith("model.json does not exist")
