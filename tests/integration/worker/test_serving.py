"""From routes to right answers and clear refusals, with real models, processes and RPCs."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grpc import aio
from torch import nn

from crossfade import metadata as keys
from crossfade.artifact import package
from crossfade.common.v1.model_pb2 import TRAFFIC_PINNED as PINNED
from crossfade.connection import MESSAGE_LIMIT
from crossfade.errors import details_of
from crossfade.predict.v1 import predict_pb2
from services.common.prediction_token import TokenKeys
from services.common.telemetry import catalog
from tests.fakes.models import RAISES, Packaged, expected_scores, reference_rows, request_of, scores_of
from tests.fakes.registry import LIVE, FakeRegistry, lane
from tests.integration.worker.test_front_ends import processes_of
from tests.integration.worker.test_single_rows import standing_still
from tests.support.worker import counted, failure_of, kept_there, metrics, metrics_with


async def test_loads_reports_and_answers(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, token_keys: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts()), epoch=7))
    await start_worker(device="cpu")
    caller = await caller_of("v1")
    rows = reference_rows(5, seed=1)
    response = await caller.predict(rows, request_id="mine")
    np.testing.assert_allclose(scores_of(response), expected_scores(rows), rtol=1e-5)
    assert (response.id, response.model_name, response.model_version) == ("mine", "scores", "v1")
    token = response.parameters["crossfade_prediction_id"].string_param
    prediction = TokenKeys.parse(token_keys.read_text()).verify(token)
    assert prediction.classes == tuple(expected_scores(rows).argmax(axis=1))
    assert (prediction.model, prediction.version, prediction.epoch, prediction.traffic) == ("scores", "v1", 7, LIVE)
    serving = registry.serving("scores", "v1")
    assert serving is not None
    report = serving.load_report
    assert (report.device, report.precision) == ("cpu", "fp32")
    assert 0 < report.full_seconds < report.load_seconds
    assert 0 <= report.golden_error <= 1


async def test_many_at_once_and_more_rows_than_a_batch(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    await start_worker(max_batch=8)
    caller = await caller_of("v1")
    sizes = [1, 2, 3, 50, 1, 8, 9, 1] * 8

    async def one(number: int, size: int) -> None:
        rows = reference_rows(size, seed=number)
        response = await caller.predict(rows)
        np.testing.assert_allclose(scores_of(response), expected_scores(rows), rtol=1e-5)
        assert list(response.outputs[0].shape) == [size, 3]

    await asyncio.gather(*(one(number, size) for number, size in enumerate(sizes)))


async def test_only_requests_with_bad_rows_fail(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(nan_above=50.0))))
    app = await start_worker()
    caller = await caller_of("v1")
    good = reference_rows(2)
    bad = good.copy()
    bad[1, 0] = 60.0
    results = await asyncio.gather(
        *(caller.predict(good) if number % 3 else caller.failure(bad) for number in range(30))
    )
    for number, result in enumerate(results):
        if number % 3:
            np.testing.assert_allclose(scores_of(result), expected_scores(good), rtol=1e-5)
        else:
            assert (result.code, result.reason, result.accepted) == ("INTERNAL", "OUTPUT_NOT_FINITE", True)
            # It held numbers: nobody knows more.
            assert result.message == "scores v1 answered row 1 with NaN or an infinity"
    snapshots = await metrics_with(app.address, 30)
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="ok") == 20
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="INTERNAL") == 10
    assert counted(snapshots, catalog.PREDICTION_COUNT) == 40


@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
async def test_a_version_that_takes_no_nan_refuses_it_and_answers_the_others(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, what: float
) -> None:
    # Scores of such a row would be no numbers either: the request is wrong, and not the version.
    await registry.set_lanes(lane("scores", want(artifacts(nan_policy="raise"))))
    app = await start_worker()
    caller = await caller_of("v1")
    good, bad = reference_rows(5), reference_rows(5)
    bad[3, 2] = what
    refused = await caller.failure(bad)
    assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "INPUT_NOT_FINITE")
    assert "input 'input' holds NaN or an infinity in row 3" in refused.message
    np.testing.assert_allclose(scores_of(await caller.predict(good)), expected_scores(good), rtol=1e-5)
    assert counted(await metrics_with(app.address, 2), catalog.WORKER_DURATION, outcome="INVALID_ARGUMENT") == 1


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("what", [np.nan, np.inf, -np.inf])
async def test_whoever_sent_no_number_and_gets_none_is_told_where_it_was(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, tmp_path: Path, want: Any, single: bool, what: float
) -> None:
    packaged = Packaged(package(nn.Linear(4, 3), example=reference_rows(8), task="other", to=tmp_path / "linear"))
    await registry.set_lanes(lane("scores", want(packaged)))
    await start_worker()
    caller = await caller_of("v1")
    rows = reference_rows(1 if single else 5)
    rows[-1, 2] = what
    failure = await caller.failure(rows)
    assert (failure.code, failure.reason, failure.accepted) == ("INTERNAL", "OUTPUT_NOT_FINITE", True)
    assert failure.message == (
        f"scores v1 answered row {len(rows) - 1} with NaN or an infinity; its input 'input' holds NaN or an infinity "
        "there: leave such rows out, or fill in what is missing"
    )


class Words(nn.Module):
    """Sums of what words have in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """[rows, 4] of whole numbers to [rows, 3]."""
        found: torch.Tensor = self.table(words).sum(dim=1)
        return found


@pytest.mark.parametrize("front_ends", [1, 2])
async def test_numbers_beyond_a_table_never_reach_the_model(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, tmp_path: Path, front_ends: int
) -> None:
    words = np.arange(32).reshape(8, 4)
    packaged = Packaged(package(Words(), example=words, task="other", to=tmp_path / "words"))
    await registry.set_lanes(lane("scores", want(packaged)))
    await start_worker(front_ends=front_ends)
    caller = await caller_of("v1")
    request = predict_pb2.PredictRequest(model_name="scores", raw_input_contents=[(words + 18).tobytes()])
    request.inputs.add(name="input", datatype="INT64", shape=words.shape)
    await caller.call(request.SerializeToString())
    request.raw_input_contents[0] = (words + 19).tobytes()
    failure = await caller.failure_of(request.SerializeToString())
    assert (failure.code, failure.reason, failure.accepted) == ("INTERNAL", "MODEL_RAISED", True)
    assert failure.message == "input 'input' has 50, and the model looks it up among 0 to 49"


async def test_a_model_that_raises(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    # A GPU's process ends of such a row: test_cuda.py.
    await start_worker(device="cpu")
    caller = await caller_of("v1")
    rows = reference_rows(1)
    rows[0, 0] = RAISES
    failure = await caller.failure(rows)
    assert (failure.code, failure.reason, failure.accepted) == ("INTERNAL", "MODEL_RAISED", True)
    assert "IndexError" in failure.message
    assert len((await caller.predict(reference_rows(1))).raw_output_contents) == 1


async def test_a_direct_call_that_names_the_version_is_pinned(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any, token_keys: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    request = predict_pb2.PredictRequest.FromString(request_of("scores", reference_rows(2)))
    request.model_version = "v1"
    raw = await caller.call(request.SerializeToString())
    token = predict_pb2.PredictResponse.FromString(raw).parameters["crossfade_prediction_id"].string_param
    assert TokenKeys.parse(token_keys.read_text()).verify(token).traffic == PINNED
    elsewhere = await caller.failure_of(request_of("scores", reference_rows(1)), metadata=((keys.VERSION, "v9"),))
    assert (elsewhere.code, elsewhere.reason) == ("FAILED_PRECONDITION", "VERSION_NOT_LIVE")
    # By another name as well, and in no count that a gate reads.
    await caller.call(request.SerializeToString(), "/inference.GRPCInferenceService/ModelInfer")
    snapshots = await metrics_with(app.address, 2)
    for metric, expected in ((catalog.WORKER_DURATION, 2), (catalog.PREDICTION_COUNT, 4)):
        assert counted(snapshots, metric, traffic="pinned") == counted(snapshots, metric) == expected
    assert counted(snapshots, catalog.INFERENCE_DURATION, traffic="live") == 0


async def test_bad_input_is_the_callers_fault(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker()
    caller = await caller_of("v1")
    wide = np.zeros((1, 5), np.float32)
    pinned = predict_pb2.PredictRequest(model_version="v9").SerializeToString()
    for body, code, reason in (
        (b"\xff\xff", "INVALID_ARGUMENT", "MESSAGE_MALFORMED"),
        (request_of("scores", wide), "INVALID_ARGUMENT", "INPUT_SHAPE"),
        (request_of("scores", reference_rows(1), outputs=["nothing"]), "INVALID_ARGUMENT", "OUTPUT_UNKNOWN"),
        (request_of("scores", reference_rows(1), outputs=["output"] * 2), "INVALID_ARGUMENT", "MESSAGE_MALFORMED"),
        (request_of("scores", reference_rows(1), "i" * (MESSAGE_LIMIT - 2000)), "INVALID_ARGUMENT", "INPUT_SHAPE"),
        (b"", "INVALID_ARGUMENT", "INPUT_MISSING"),
        (request_of("other", reference_rows(1)), "NOT_FOUND", "MODEL_NOT_FOUND"),
        (pinned, "FAILED_PRECONDITION", "VERSION_NOT_LIVE"),
    ):
        failure = await caller.failure_of(body)
        assert (failure.code, failure.reason, failure.accepted) == (code, reason, False)
    assert counted(await metrics(app.address), catalog.WORKER_DURATION) == 0


async def test_a_full_queue_and_an_expired_deadline(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    packaged = artifacts(work=1000)
    await registry.set_lanes(lane("scores", want(packaged)))
    # A GPU would be done with each before the next one comes.
    app = await start_worker(queue_rows=4, max_batch=1, batch_seconds=10, device="cpu")
    caller = await caller_of("v1")
    engine, _ = processes_of(app)
    rows = reference_rows(1)
    durations = []
    for _ in range(4):
        begun = time.monotonic()
        await caller.predict(rows)
        durations.append(time.monotonic() - begun)
    # Its time is over in the queue, however busy the machine: nothing leaves it.
    with standing_still(engine):
        late = await caller.failure(rows, timeout_seconds=None, metadata=kept_there(0.5))
    assert late.code == "DEADLINE_EXCEEDED"
    results = await asyncio.gather(*(caller.predict(rows) for _ in range(12)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, aio.AioRpcError)]
    assert refused
    for error in refused:
        failure = failure_of(error)
        assert (failure.code, failure.reason, failure.accepted) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL", True)
        # Of four rows that wait and one that runs, each of which takes about as long as one did alone.
        assert 0.2 * min(durations) < details_of(error).retry_seconds < 20 * max(durations)
    snapshots = await metrics_with(app.address, len(durations) + 1 + len(results))
    answered = len(durations) + len(results) - len(refused)
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="ok") == answered
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="RESOURCE_EXHAUSTED") == len(refused)
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="DEADLINE_EXCEEDED") == 1
    # What was refused counts where it goes next.
    features = len(packaged.artifact.manifest.profile.features)
    assert counted(snapshots, catalog.INPUT_COUNT) == (answered + 1) * features


async def test_a_deadline_that_has_passed_is_told_from_a_caller_that_gave_up_whatever_others_have_sent(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Any, want: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts())))
    app = await start_worker(front_ends=1)
    caller = await caller_of("v1")
    # gRPC sends the timeout of the first one for the others too, who wait for less.
    timeouts = (2.0, 1.96, 1.95)
    await caller.channel.channel_ready()
    engine, _ = processes_of(app)
    with standing_still(engine):
        for seconds in timeouts:
            assert (await caller.failure(reference_rows(2), timeout_seconds=seconds)).code == "DEADLINE_EXCEEDED"
    snapshots = await metrics_with(app.address, len(timeouts))
    assert counted(snapshots, catalog.WORKER_DURATION, outcome="DEADLINE_EXCEEDED") == len(timeouts)
