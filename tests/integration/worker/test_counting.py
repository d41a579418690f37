"""What a Worker counts: requests by their traffic, rows, inputs, labels."""

from typing import Any

import pytest
import torch
from torch import nn

from crossfade.artifact import package
from crossfade.predict.v1 import predict_pb2, predict_pb2_grpc
from services.common.telemetry import catalog
from services.common.telemetry.bounds import ERROR_BOUNDS
from tests.fakes.models import Packaged, reference_rows, scores_of
from tests.fakes.registry import CONTROL, LIVE, FakeRegistry, lane
from tests.support.worker import counted, metrics_with


class Total(nn.Module):
    """A regression: the sum of a row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 1]."""
        return x.sum(dim=1, keepdim=True)


async def test_of_a_large_request_as_many_rows_are_counted_as_may_be_labelled(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    await caller.predict(reference_rows(100))
    await caller.predict(reference_rows(3))
    assert counted(await metrics_with(app.address, 2), catalog.PREDICTION_COUNT) == 64 + 3


async def test_what_the_router_says_of_a_request_is_counted(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    test = artifacts(scale=2.0)
    stable = want(artifacts(), "v1", traffic=(LIVE, CONTROL))
    await registry.set_lanes(lane("scores", stable, want(test, "v2"), epoch=5, test="v2", slice_seconds=1e6))
    app = await start_worker()
    live, control, tested = (
        await caller_of("v1"),
        await caller_of("v1", traffic=CONTROL),
        await caller_of("v2"),
    )
    addresses = {str(one.address) for instance in registry.instances.values() for one in instance.serving}
    assert len(addresses) == 3
    rows = reference_rows(4)
    await live.predict(rows)
    await live.predict(rows, metadata=(("x-crossfade-traffic", "failover"), ("x-crossfade-epoch", "4")))
    await live.predict(rows, metadata=(("x-crossfade-traffic", "nonsense"), ("x-crossfade-epoch", "9999")))
    await control.predict(rows)
    await tested.predict(rows, metadata=(("x-crossfade-segment", "unknown"),))
    snapshots = await metrics_with(app.address, 5)
    calls = {
        (dict(zip(one.metric.attributes, one.attributes, strict=True))["version"], *one.attributes[2:]): sum(one.counts)
        for one in snapshots
        if one.metric is catalog.WORKER_DURATION
    }
    assert calls == {
        ("v1", "live", "", "ok", "5"): 2,
        ("v1", "failover", "", "ok", "4"): 1,
        ("v1", "control", "", "ok", "5"): 1,
        ("v2", "live", "", "ok", "5"): 1,
    }
    own = test.artifact.manifest.profile
    stables = artifacts().artifact.manifest.profile
    features = len(own.features)
    assert counted(snapshots, catalog.INPUT_COUNT, version="v1", traffic="live") == 8 * features
    assert counted(snapshots, catalog.INPUT_COUNT, version="v1", traffic="failover") == 0
    assert counted(snapshots, catalog.INPUT_COUNT, version="v1", traffic="control") == 4 * features
    for profile in (own, stables):
        assert counted(snapshots, catalog.INPUT_COUNT, version="v2", profile=profile.id) == 4 * features


async def test_labels_come_late(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    token = (await caller.predict(reference_rows(2))).parameters["crossfade_prediction_id"].string_param
    request = predict_pb2.FeedbackRequest()
    for row, label in ((0, "high"), (0, "high"), (1, "low"), (1, "nothing")):
        request.observations.add(prediction_id=token, row=row, label=label)
    # Not at the end, whose last letter has bits that are nobody's.
    forged = token[:-4] + ("A" if token[-4] != "A" else "B") + token[-3:]
    request.observations.add(prediction_id=forged, row=0, label="high")
    body = await caller.call(request.SerializeToString(), "/crossfade.predict.v1.PredictionService/Feedback")
    results = predict_pb2.FeedbackResponse.FromString(body).results
    names = [predict_pb2.ObservationResult.Status.Name(one.status).removeprefix("STATUS_") for one in results]
    assert names == ["ACCEPTED", "DUPLICATE", "ACCEPTED", "REFUSED", "REFUSED"]
    snapshots = await metrics_with(app.address, 2, catalog.FEEDBACK_COUNT)
    assert counted(snapshots, catalog.FEEDBACK_COUNT, correct="true") == 1
    assert counted(snapshots, catalog.FEEDBACK_COUNT, actual="low", predicted="high") == 1


async def test_of_a_regression_truth_is_counted_by_how_far_it_was_off(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, tmp_path: Any, want: Any
) -> None:
    rows = reference_rows(16)
    made = Packaged(package(Total(), example=rows, reference=rows, task="regression", to=tmp_path / "total"))
    await registry.set_lanes(lane("scores", want(made)))
    app = await start_worker()
    caller = await caller_of("v1")
    response = await caller.predict(rows[:3])
    predicted = scores_of(response)[:, 0]
    token = response.parameters["crossfade_prediction_id"].string_param
    truths = [predicted[0] + 2.0, predicted[1], predicted[2] - 0.25]
    observations = [
        predict_pb2.Observation(prediction_id=token, row=row, value=float(truth)) for row, truth in enumerate(truths)
    ]
    stub = predict_pb2_grpc.PredictionServiceStub(caller.channel)
    answer = await stub.Feedback(predict_pb2.FeedbackRequest(observations=observations))
    assert [one.status for one in answer.results] == [predict_pb2.ObservationResult.STATUS_ACCEPTED] * 3
    snapshots = await metrics_with(app.address, 3, catalog.FEEDBACK_ERROR)
    (errors,) = (one for one in snapshots if one.metric is catalog.FEEDBACK_ERROR)
    off = [ERROR_BOUNDS[place] for place, count in enumerate(errors.counts) if count]
    assert off == pytest.approx([ERROR_BOUNDS[0], 0.25, 2.0], rel=0.1)
    # Predictions are counted too, so that the share of those with labels is known.
    assert counted(snapshots, catalog.PREDICTION_COUNT) == 3
