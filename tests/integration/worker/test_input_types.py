"""What a client sends in numpy's default types reaches a model that takes others."""

import asyncio
from typing import Any

import numpy as np
import pytest

from crossfade.client import AsyncClient, Client, PredictError
from crossfade.input_types import Asked
from tests.fakes.models import expected_scores, reference_rows
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
