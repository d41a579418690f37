"""NaN on its way into linear algebra that ends its process of it: nobody's version is ended by what a caller sends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
import torch
from grpc import aio
from torch import nn

from crossfade.artifact import package
from crossfade.predict.v1 import predict_pb2
from tests.fakes.models import Packaged
from tests.fakes.registry import FakeRegistry, lane
from tests.integration.worker.streams import INFER, Streams
from tests.support.worker import failure_of

_SIDE: Final = 3
_UNARY: Final = ("/crossfade.predict.v1.PredictionService/Predict", "/inference.GRPCInferenceService/ModelInfer")


class Stability(nn.Module):
    """The largest real part of a matrix's eigenvalues: above 0, what it describes grows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 9] to [rows, 1]."""
        matrices = x.to(torch.float32).reshape(-1, _SIDE, _SIDE)
        # Also of numbers there comes NaN: infinity less infinity.
        grown = matrices * 1e10 - matrices * 1e10 + matrices
        largest: torch.Tensor = torch.linalg.eigvals(grown).real.amax(dim=1, keepdim=True)
        return largest


def matrices(rows: int, dtype: Any = np.float32) -> npt.NDArray[Any]:
    return np.random.default_rng(7).normal(size=(rows, _SIDE * _SIDE)).astype(dtype)


def request_of(rows: npt.NDArray[Any], *, typed: bool = False) -> bytes:
    request = predict_pb2.PredictRequest(model_name="scores")
    tensor = request.inputs.add(name="input", datatype={2: "FP16", 4: "FP32", 8: "FP64"}[rows.itemsize])
    tensor.shape.extend(rows.shape)
    if typed:
        getattr(tensor.contents, {4: "fp32_contents", 8: "fp64_contents"}[rows.itemsize]).extend(rows.ravel().tolist())
    else:
        request.raw_input_contents.append(rows.tobytes())
    return request.SerializeToString()


@pytest.fixture
async def serve(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, tmp_path: Path
) -> Callable[..., Any]:
    async def served(dtype: Any = np.float32, **options: Any) -> tuple[Any, Any]:
        made = package(Stability(), example=matrices(8, dtype), task="other", to=tmp_path / "stability")
        await registry.set_lanes(lane("scores", want(Packaged(made))))
        return await start_worker(device="cpu", **options), await caller_of("v1")

    return served


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("what", [np.nan, np.inf, 3e38])
async def test_no_number_ends_a_version_by_any_door(serve: Any, what: float, inline: bool) -> None:
    app, caller = await serve(inline_rows=inline)
    before = app.supervisor.pids()
    for rows, typed in ((matrices(1), False), (matrices(5), False), (matrices(5), True)):
        good = rows.copy()
        rows[-1, 4] = what
        body = request_of(rows, typed=typed)
        for method in _UNARY:
            with pytest.raises(aio.AioRpcError) as raised:
                await caller.call(body, method)
            failure = failure_of(raised.value)
            assert (failure.code, failure.reason) == ("INTERNAL", "OUTPUT_NOT_FINITE")
            assert f"row {len(rows) - 1} " in failure.message
        failure, sent = await Streams(caller.channel).failure(body)
        assert (failure.reason, sent) == ("OUTPUT_NOT_FINITE", 0)
        infer = caller.channel.stream_stream(INFER)(timeout=30)
        await infer.write(body)
        answer = predict_pb2.ModelStreamInferResponse.FromString(await infer.read())
        assert "NaN or an infinity" in answer.error_message
        infer.cancel()
        answered = predict_pb2.PredictResponse.FromString(await caller.call(request_of(good)))
        expected = np.linalg.eigvals(good.reshape(-1, _SIDE, _SIDE).astype(float)).real.max(axis=1)
        found = np.frombuffer(answered.raw_output_contents[0], np.float32)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert app.supervisor.pids() == before


@pytest.mark.parametrize(("dtype", "what"), [(np.float16, np.inf), (np.float64, 1e300)])
async def test_nor_does_one_that_a_cast_makes_of_another(serve: Any, dtype: Any, what: float) -> None:
    app, caller = await serve(dtype)
    before = app.supervisor.pids()
    for rows in (matrices(1, dtype), matrices(4, dtype)):
        rows[0, 0] = what
        failure = await caller.failure_of(request_of(rows))
        assert (failure.code, failure.reason) == ("INTERNAL", "OUTPUT_NOT_FINITE")
    assert app.supervisor.pids() == before
