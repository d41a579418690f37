"""In which precision a version runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package
from crossfade.manifest import Precision
from services.common.clock import SystemClock
from services.worker.engine.verify import prepare
from services.worker.front_end.front_end import read_manifest
from services.worker.settings import WorkerSettings
from tests.fakes.models import expected_scores, package_scores, reference_rows, scores_of
from tests.fakes.registry import FakeRegistry, lane


async def test_mixed_precision_where_it_agrees(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(precision="bf16")
    caller = await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    report = serving.load_report
    assert report.precision == "bf16"
    assert 0 < report.mixed_error <= 1
    assert report.mixed_seconds > 0
    rows = reference_rows(3)
    response = await caller.predict(rows)
    np.testing.assert_allclose(scores_of(response), expected_scores(rows), rtol=0.05, atol=0.1)
    assert not np.array_equal(scores_of(response), expected_scores(rows))


async def test_full_precision_where_mixed_does_not_agree(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, tmp_path: Path, want: Any
) -> None:
    from crossfade.artifact import Tolerance

    exact = package_scores(tmp_path / "exact", tolerance=Tolerance(rtol=1e-5, atol=1e-5))
    await registry.set_lanes(lane("scores", want(exact)))
    await start_worker(precision="bf16")
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    report = serving.load_report
    assert report.precision == "fp32"
    assert report.mixed_error > 1
    assert "differ in bf16" in report.precision_reason


@pytest.mark.parametrize(("of_version", "of_worker", "expected"), [("bf16", "fp32", "bf16"), ("fp32", "bf16", "fp32")])
async def test_a_version_says_what_it_runs_in(
    registry: FakeRegistry,
    start_worker: Any,
    caller_of: Any,
    artifacts: Any,
    want: Any,
    of_version: str,
    of_worker: str,
    expected: str,
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(precision=of_version))))
    await start_worker(precision=of_worker)
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    assert serving.load_report.precision == expected


class Placed(nn.Module):
    """Puts what a layer gives into numbers of full precision, which takes no others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to the same."""
        return torch.zeros_like(x).scatter(1, x.argsort(1), self.layer(x))


def test_a_program_that_mixed_precision_makes_raise_says_that_it_was_tried(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = package(Placed(), example=torch.randn(8, 4), to=tmp_path / "placed").path
    settings = WorkerSettings(precision=Precision.BF16, device="cpu", max_batch=2)
    report = prepare(made, read_manifest(made), settings, SystemClock(), 0.0).report
    assert (report.precision, report.mixed_error, report.mixed_seconds) == ("fp32", -1.0, 0.0)
    assert "full precision, since the program raised" in report.precision_reason
