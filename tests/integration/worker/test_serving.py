"""From routes to right answers, with real models, processes and RPCs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from services.common.prediction_token import TokenKeys
from tests.fakes.models import Packaged, expected_scores, reference_rows, scores_of
from tests.fakes.registry import LIVE, FakeRegistry, lane, wanted

Artifacts = Callable[..., Packaged]


def want(packaged: Packaged, version: str, **options: Any) -> Any:
    artifact = packaged.artifact
    return wanted(version, packaged.uri, artifact.digest, artifact.manifest, size=artifact.size, **options)


async def test_loads_reports_and_answers(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, artifacts: Artifacts, token_keys: Any
) -> None:
    await registry.set_lanes(lane("scores", want(artifacts(), "v1"), epoch=7))
    await start_worker()
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
