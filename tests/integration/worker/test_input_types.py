"""What a client sends in numpy's default types reaches a model that takes others."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from crossfade.artifact import package
from crossfade.client import AsyncClient, Client, PredictError
from crossfade.input_types import Asked
from tests.fakes.models import Packaged, expected_scores, reference_rows
from tests.fakes.registry import FakeRegistry, lane


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Of the refusals that clients have seen."""
    seen: list[str] = []
    corrected = Asked.corrected

    def noting(self: Asked, reason: str, said: Any) -> bool:
        seen.append(reason)
        return corrected(self, reason, said)

    monkeypatch.setattr(Asked, "corrected", noting)
    return seen


async def test_float64_lists_and_whole_numbers_are_answered(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, reasons: list[str]
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker()
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    rows = reference_rows(3)

    def blocking() -> None:
        with Client(serving.address) as client:
            for given in (rows.astype(np.float64), rows.tolist()):
                np.testing.assert_allclose(client.predict("scores", given).output, expected_scores(rows), rtol=1e-5)
            ones = np.ones_like(rows)
            answer = client.predict("scores", ones.astype(np.int64))
            np.testing.assert_allclose(answer.output, expected_scores(ones), rtol=1e-5)
            assert reasons == ["INPUT_DTYPE"], "the first call alone asks twice"
            with pytest.raises(PredictError, match=r"takes FP32, not 'FP16': send input as X\.astype\('float32'\)"):
                client.predict("scores", rows.astype(np.float16))
        with Client(serving.address) as client:
            (part,) = client.predict_stream("scores", rows.tolist())
            np.testing.assert_allclose(part.output, expected_scores(rows), rtol=1e-5)

    await asyncio.to_thread(blocking)
    async with AsyncClient(serving.address) as client:
        answer = await client.predict("scores", rows.astype(np.float64))
        np.testing.assert_allclose(answer.output, expected_scores(rows), rtol=1e-5)
    async with AsyncClient(serving.address) as client:
        parts = [part async for part in client.predict_stream("scores", rows.tolist())]
        np.testing.assert_allclose(parts[0].output, expected_scores(rows), rtol=1e-5)


async def test_a_model_in_bfloat16_is_called_by_floats_and_answers_in_floats(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, reasons: list[str], tmp_path: Path
) -> None:
    """numpy has no such type, so that nobody could call it."""
    rows = np.random.default_rng(0).normal(size=(4, 3))
    torch.manual_seed(0)
    module = nn.Linear(3, 2).bfloat16()
    packaged = Packaged(package(module, example=rows, reference=rows.repeat(5, axis=0), to=tmp_path / "short"))
    await registry.set_lanes(lane("scores", want(packaged)))
    await start_worker()
    await caller_of("v1")
    serving = registry.serving("scores", "v1")
    assert serving is not None
    with torch.no_grad():
        expected = module(torch.from_numpy(rows).bfloat16()).float().numpy()

    def blocking() -> None:
        with Client(serving.address) as client:
            for given in (rows, rows.tolist(), rows.astype(np.float32)):
                output = client.predict("scores", given).output
                assert output.dtype == np.float32
                np.testing.assert_allclose(output, expected, rtol=0.01, atol=0.01)
            assert reasons == ["INPUT_DTYPE"]
            with pytest.raises(PredictError, match=r"takes BF16, not 'FP16': send input as X\.astype\('float32'\)"):
                client.predict("scores", rows.astype(np.float16))

    await asyncio.to_thread(blocking)
