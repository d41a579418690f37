"""Queries of the user's own that a Prometheus server answers otherwise than with counters, or not at all."""

import pytest

from evaluator.sources.prometheus_access import Access
from evaluator.sources.prometheus_http import PrometheusHttp
from evaluator.sources.prometheus_series import PrometheusError
from tests.fakes.prometheus_server import PrometheusServer

AT = 1_700_000_000_000
HISTOGRAM = {"metric": {"version": "v1"}, "histogram": [AT / 1000, {"count": "3", "sum": "1", "buckets": []}]}
ADVICE = ", and counters are needed: write it in the policy as sum by (version, instance) (…)"


async def refused(status: int, answer: object) -> str:
    """What is said of an expression that is answered so."""
    server = PrometheusServer()
    server.start()
    server.say(answer, status)
    client = PrometheusHttp(Access("http://prometheus:9090", "127.0.0.1", server.port))
    try:
        with pytest.raises(PrometheusError) as caught:
            await client.evaluate("orders_total", AT, 5.0)
    finally:
        await client.close()
        server.stop()
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "result", "said"),
    [
        ("scalar", [AT / 1000, "3"], "its query gives one number"),
        ("string", [AT / 1000, "orders"], "its query gives a text"),
        ("matrix", [{"metric": {"version": "v1"}, "values": [[AT / 1000, "3"]]}], "its query gives ranges of samples"),
        ("vector", [HISTOGRAM], "its query gives native histograms"),
    ],
)
async def test_a_query_that_gives_no_counters_is_to_be_corrected(kind: str, result: object, said: str) -> None:
    answer = {"status": "success", "data": {"resultType": kind, "result": result}}
    assert await refused(200, answer) == said + ADVICE


@pytest.mark.parametrize(
    ("status", "advice"),
    [(400, "correct its query in the policy"), (422, "correct its query in the policy"), (503, "see its log")],
)
async def test_a_query_that_is_refused_is_to_be_corrected(status: int, advice: str) -> None:
    answer = {"status": "error", "errorType": "bad_data", "error": "parse error: unclosed left parenthesis"}
    assert await refused(status, answer) == (
        f"Prometheus at http://prometheus:9090 does not answer the question (HTTP {status}: parse error: unclosed left "
        f"parenthesis): {advice}"
    )
