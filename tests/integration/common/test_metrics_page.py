"""The pages of a process: all of its series, and those without evidence, few even for a model of many classes."""

import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.settings import ServiceSettings
from services.common.telemetry import catalog
from services.common.telemetry.logs import make_log
from services.common.telemetry.otlp import Resource
from services.common.telemetry.page_names import BUILD_INFO, CREATED, page_name
from services.common.telemetry.page_server import PageServer
from services.common.telemetry.prometheus import ALL, OPERATIONS, MetricsPage
from services.common.telemetry.store import MetricStore, Snapshot

CLASSES = tuple(f"class-{number}" for number in range(32))
ARM = ("churn", "v1", "live")


@pytest.fixture
async def page() -> AsyncIterator[MetricsPage]:
    store = MetricStore()
    store.histogram(catalog.ATTEMPT_DURATION, *ARM, "", "ok", "3").record(0.003)
    store.counter(catalog.FEEDBACK_DUPLICATE_COUNT, *ARM).add()
    store.histogram(catalog.COHORT_ATTEMPT, *ARM, "", "ok", "3").record(1)
    store.counter(catalog.CALLER_ATTEMPT_COUNT, *ARM, "", "ok", "3", "anna").add()
    store.spread(catalog.PREDICTION_COUNT, CLASSES, *ARM, "", "3.1").add([1] * len(CLASSES))
    for predicted in CLASSES:
        for actual in CLASSES:
            correct = str(predicted == actual).lower()
            store.counter(catalog.FEEDBACK_COUNT, *ARM, "", "3.1", predicted, actual, correct).add()
            store.counter(catalog.SHADOW_PAIR_COUNT, "churn", "v2", "shadow", "", predicted, actual).add()

    async def collect() -> list[Snapshot]:
        return store.snapshot()

    settings, log = ServiceSettings(metrics_listen="127.0.0.1:0"), make_log("test", "error")
    made = MetricsPage(settings, Resource("test", "1", 0), collect, log)
    yield made
    await asyncio.to_thread(made.close)


async def fetch(page: MetricsPage, path: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{page.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


def names(text: str) -> set[str]:
    """The families; what says since when a series counts is one by itself in this format."""
    found = (family.name for family in text_string_to_metric_families(text))
    return {name.removesuffix(CREATED) for name in found if name.startswith("crossfade_")}


async def test_the_page_to_operate_by_has_no_evidence(page: MetricsPage) -> None:
    whole, short = await fetch(page, ALL), await fetch(page, OPERATIONS)
    kept = {catalog.ATTEMPT_DURATION, catalog.FEEDBACK_DUPLICATE_COUNT}
    gone = {
        catalog.COHORT_ATTEMPT,
        catalog.CALLER_ATTEMPT_COUNT,
        catalog.PREDICTION_COUNT,
        catalog.FEEDBACK_COUNT,
        catalog.SHADOW_PAIR_COUNT,
    }
    assert names(short) == {BUILD_INFO, *(page_name(metric) for metric in kept)}
    assert names(whole) == {BUILD_INFO, *(page_name(metric) for metric in kept | gone)}
    assert len(whole.splitlines()) > 2_000
    assert len(short.splitlines()) < 150
    # An Evaluator that reads from Prometheus takes the page that has it for all that the process counts.
    assert ("target_info" in whole, "target_info" in short) == (True, False)
    for page_text in (whole, short):
        assert "process_resident_memory_bytes " in page_text


@pytest.mark.parametrize("path", [ALL, OPERATIONS])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("crossfade_attempt_duration_seconds_count", {"crossfade_attempt_duration_seconds"}),
        ("crossfade_feedback_duplicate_count_total", {"crossfade_feedback_duplicate_count"}),
    ],
)
async def test_a_series_can_be_asked_for_by_name(page: MetricsPage, path: str, wanted: str, found: set[str]) -> None:
    text = await fetch(page, f"{path}?name[]={wanted}")
    assert names(text) == found
    assert {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")} == {wanted}


async def test_the_processs_own_series_can_be_asked_for_too(page: MetricsPage) -> None:
    assert "process_open_fds " in await fetch(page, f"{OPERATIONS}?name[]=process_open_fds")


async def test_another_path_says_which_pages_there_are(page: MetricsPage) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        await fetch(page, "/metrics/operation")
    assert caught.value.code == 404
    assert caught.value.read().decode() == "there is no such page: ask for /metrics or /metrics/operations\n"


def test_a_connection_that_cannot_be_taken_is_not_asked_for_without_a_pause() -> None:
    with PageServer(("127.0.0.1", 0), ServiceSettings(), None, make_log("test", "error")) as server:
        # So it raises at once, as where no file descriptor is left.
        server.socket.setblocking(False)
        began = time.monotonic()
        with pytest.raises(OSError, match="unavailable"):
            server.get_request()
        assert time.monotonic() - began > 0.4
