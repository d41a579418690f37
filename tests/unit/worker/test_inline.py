"""A light program in a front-end: it has to answer there as it did when it was packaged, and at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package
from crossfade.manifest import MANIFEST_FILE, Manifest, Precision, loads
from services.common.clock import Clock, SystemClock
from services.worker.domain import LoadError
from services.worker.engine.inline import Inline, take_over
from services.worker.engine.light import pack_if_light
from services.worker.engine.loader import load_program
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import Outcome
from tests.fakes.clock import ManualClock


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear layer."""
    torch.manual_seed(0)
    rows = torch.randn(16, 4)
    return package(nn.Linear(4, 2), example=rows, to=tmp_path_factory.mktemp("light") / "artifact").path


class Slow(ManualClock):
    """Ten milliseconds go by from look to look."""

    def monotonic(self) -> float:
        self.advance(0.01)
        return super().monotonic()


def taken_over(artifact: Path, clock: Clock, *, changed: bool = False) -> tuple[Inline | None, Manifest, nn.Module]:
    manifest = loads((artifact / MANIFEST_FILE).read_bytes())
    program = load_program(artifact, manifest)
    if changed:
        with torch.no_grad():
            next(program.parameters()).add_(1.0)
    packed = pack_if_light(program, [torch.randn(1, 4)], Precision.FP32)
    return take_over(packed, artifact, manifest, Precision.FP32, clock), manifest, program


def test_it_runs_the_row_where_it_lies(artifact: Path) -> None:
    here, manifest, program = taken_over(artifact, SystemClock())
    assert here is not None
    exchange = Exchange(manifest.signature, 8)
    exchange.inputs[0][:] = np.arange(exchange.inputs[0].size, dtype=np.float32).reshape(exchange.inputs[0].shape)
    before = exchange.outputs[0].copy()
    assert here(exchange, 5) == (Outcome.RAN, True, "")
    with torch.inference_mode():
        (wanted,) = program(torch.from_numpy(exchange.inputs[0][5:6]))
    np.testing.assert_array_equal(exchange.outputs[0][5:6], wanted.numpy())
    np.testing.assert_array_equal(np.delete(exchange.outputs[0], 5, axis=0), np.delete(before, 5, axis=0))


def test_one_that_answers_otherwise_is_left_to_the_engine(artifact: Path) -> None:
    with pytest.raises(LoadError, match="its answers to the golden inputs differ in fp32"):
        taken_over(artifact, SystemClock(), changed=True)


def test_one_that_takes_long_is_left_to_the_engine(artifact: Path) -> None:
    assert taken_over(artifact, Slow())[0] is None
