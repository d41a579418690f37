"""A version is prepared for batches that take no longer than they may, by a clock in the test's hand."""

from pathlib import Path

import numpy as np
import pytest
from torch import nn

from crossfade.artifact import package
from crossfade.manifest import MANIFEST_FILE, Precision, loads
from services.worker.engine.verify import prepare
from services.worker.settings import WorkerSettings
from tests.fakes.clock import TickingClock


@pytest.mark.parametrize(("batch_seconds", "largest"), [(0.0005, 1), (0.002, 64)])
def test_a_version_is_prepared_for_batches_within_the_time(tmp_path: Path, batch_seconds: float, largest: int) -> None:
    folder = tmp_path / "linear"
    package(nn.Linear(4, 2), example=np.eye(4, dtype=np.float32), task="other", to=folder)
    manifest = loads((folder / MANIFEST_FILE).read_bytes())
    settings = WorkerSettings(device="cpu", precision=Precision.FP32, batch_seconds=batch_seconds)
    prepared = prepare(folder, manifest, settings, TickingClock(0.001), 0.0)
    assert (prepared.max_rows, prepared.report.max_rows) == (largest, largest)
    # By that clock a batch of any size takes as long.
    assert prepared.report.full_seconds == pytest.approx(0.001)
