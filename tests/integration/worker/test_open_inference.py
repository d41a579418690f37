"""The Open Inference Protocol under its own name."""

from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pool

from crossfade.predict.v1 import predict_pb2
from tests.fakes.models import CLASSES, expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import FakeRegistry, lane


async def test_the_open_inference_protocol_under_its_own_name(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker()
    caller = await caller_of("v1")
    service = "/inference.GRPCInferenceService/"
    rows = reference_rows(3)
    answer = await caller.call(request_of("scores", rows), service + "ModelInfer")
    scores = scores_of(predict_pb2.PredictResponse.FromString(answer))
    np.testing.assert_allclose(scores, expected_scores(rows), rtol=1e-5)
    live = predict_pb2.ServerLiveResponse.FromString(await caller.call(b"", service + "ServerLive"))
    ready = predict_pb2.ServerReadyResponse.FromString(await caller.call(b"", service + "ServerReady"))
    assert (live.live, ready.ready) == (True, True)
    for name, expected in (("scores", True), ("other", False)):
        body = predict_pb2.ModelReadyRequest(name=name).SerializeToString()
        model = predict_pb2.ModelReadyResponse.FromString(await caller.call(body, service + "ModelReady"))
        assert model.ready is expected
    server = predict_pb2.ServerMetadataResponse.FromString(await caller.call(b"", service + "ServerMetadata"))
    assert server.name == "crossfade"
    body = predict_pb2.ModelMetadataRequest(name="scores").SerializeToString()
    described = predict_pb2.ModelMetadataResponse.FromString(await caller.call(body, service + "ModelMetadata"))
    assert (described.name, list(described.versions)) == ("scores", ["v1"])
    assert [(one.name, one.datatype, list(one.shape)) for one in described.inputs] == [("input", "FP32", [-1, 4])]
    assert list(described.classes) == list(CLASSES)
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileContainingSymbol("inference.GRPCInferenceService")
