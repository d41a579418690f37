"""The Prometheus pages, in Prometheus's text format: all series that GetMetrics hands out, and those to operate by."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from services.common.clock import steady_ns
from services.common.own_certificate import OwnCertificate
from services.common.server import AddressError, check_exposure, check_free, split_address
from services.common.settings import ServiceSettings
from services.common.telemetry import catalog
from services.common.telemetry.catalog import Kind
from services.common.telemetry.otlp import METRICS, Resource
from services.common.telemetry.page_names import (
    BUILD_INFO,
    CREATED,
    INSTANCE,
    SERVICE,
    STARTED,
    TARGET_INFO,
    UPTIME,
    VERSION,
    page_name,
    says_created,
)
from services.common.telemetry.page_server import PageServer
from services.common.telemetry.store import Snapshot

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
"""A WSGI application (PEP 3333)."""

ALL: Final = "/metrics"
"""The page with every series: what a Prometheus server needs that an Evaluator reads from."""
OPERATIONS: Final = "/metrics/operations"
"""The page without evidence, whose length does not grow with classes, bins, cohorts, callers and slices."""
_COLLECT_SECONDS: Final = 5.0


def families(
    resource: Resource,
    snapshots: Iterable[Snapshot],
    now_ns: int | None = None,
    *,
    metrics: Iterable[catalog.Metric] = (),
    whole: bool = True,
) -> Iterator[Metric]:
    """Snapshots as Prometheus families, after those of the process; every series says which process counted it.

    Args:
        resource: the process.
        snapshots: its series.
        now_ns: the time, nanoseconds since 1970-01-01 UTC; None: the present.
        metrics: have a family even where they have no series.
        whole: these are all of its series. By `target_info` an Evaluator knows a page that it can judge by.
    """
    if whole:
        described = {SERVICE: resource.service, INSTANCE: resource.instance_id}
        yield InfoMetricFamily(TARGET_INFO.removesuffix("_info"), "The process that this page is of.", value=described)
    built = {VERSION: resource.version, INSTANCE: resource.instance_id}
    yield InfoMetricFamily(BUILD_INFO.removesuffix("_info"), "The release of the process.", value=built)
    by_metric: dict[catalog.Metric, list[Snapshot]] = {metric: [] for metric in metrics}
    for snapshot in snapshots:
        by_metric.setdefault(snapshot.metric, []).append(snapshot)
    yield from _of_process(resource, steady_ns() if now_ns is None else now_ns)
    for metric, series in by_metric.items():
        yield _family(metric, series, resource.instance_id)


def _of_process(resource: Resource, now_ns: int) -> Iterator[Metric]:
    for name, what, value in (
        (STARTED, "When the process started, in seconds since 1970.", resource.start_time_ns),
        (UPTIME, "For how long it has run, in seconds.", now_ns - resource.start_time_ns),
    ):
        family = GaugeMetricFamily(name, what, labels=[INSTANCE])
        family.add_metric([resource.instance_id], value / 1e9)
        yield family


def _family(metric: catalog.Metric, series: Iterable[Snapshot], instance: str) -> Metric:
    name = page_name(metric)
    labels = [*metric.attributes, *((metric.spread,) if metric.spread else ()), INSTANCE]
    match metric.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(name, metric.description, labels=labels)
            for one in series:
                at = (*one.attributes, instance)
                histogram.add_metric(at, list(_cumulative(metric.bounds, one.counts)), one.total)
                if (created := _created(one)) is not None:
                    histogram.add_sample(f"{name}{CREATED}", dict(zip(labels, at, strict=True)), created)
            return histogram
        case Kind.COUNTER:
            counter = CounterMetricFamily(name, metric.description, labels=labels)
            for one in series:
                for label, count in zip(one.labels or ("",), one.counts, strict=True):
                    spread = (label,) if metric.spread else ()
                    counter.add_metric([*one.attributes, *spread, instance], count, _created(one))
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(name, metric.description, labels=labels)
            for one in series:
                gauge.add_metric([*one.attributes, instance], one.total)
            return gauge


def _created(one: Snapshot) -> float | None:
    """Since when a series counts, in seconds since 1970; None: nobody knows, or the page does not say it."""
    return one.start_ns / 1e9 if one.start_ns and says_created(one.metric) else None


def _cumulative(bounds: tuple[float, ...], counts: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        total += count
        yield ("+Inf" if bound == float("inf") else repr(bound)), total


class _Collector(Collector):
    def __init__(self, resource: Resource, read: Callable[[], Iterable[Snapshot]], *, evidence: bool) -> None:
        self._resource = resource
        self._read = read
        self._evidence = evidence

    def collect(self) -> Iterator[Metric]:
        shown = (one for one in self._read() if self._shows(one.metric))
        return families(self._resource, shown, whole=self._evidence)

    def describe(self) -> Iterator[Metric]:
        """Every family there may be, without series: by these the library finds what `?name[]=` asks for."""
        return families(self._resource, (), metrics=filter(self._shows, METRICS.values()), whole=self._evidence)

    def _shows(self, metric: catalog.Metric) -> bool:
        return self._evidence or not metric.is_evidence


class _OfProcess(Collector):
    """CPU, memory and open files of this process, as Prometheus's clients name them; not when it began."""

    def __init__(self) -> None:
        # Registered nowhere.
        self._whole = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        return (family for family in self._whole.collect() if family.name != STARTED)


def _pages(apps: Mapping[str, Application]) -> Application:
    """Serves each page under its path, and says which there are under any other."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = apps.get(environ["PATH_INFO"])
        if found is not None:
            return found(environ, start_response)
        body = f"there is no such page: ask for {' or '.join(apps)}\n".encode()
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return app


class MetricsPage:
    """An HTTP(S) server with the pages /metrics and /metrics/operations, on a thread of its own.

    Args:
        settings: `metrics_listen`, and of which trust domain scrapers are.
        resource: which process this is.
        collect: gives every series at this moment, on the event loop's thread.
        log: gets what fails.
        certificate: what it shows; scrapers then need a client certificate of a role that may call GetMetrics. None: it
            is without TLS.

    Raises:
        AddressError: the address is in use, exposed without TLS, or none.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        resource: Resource,
        collect: Callable[[], Awaitable[Iterable[Snapshot]]],
        log: structlog.typing.FilteringBoundLogger,
        certificate: OwnCertificate | None = None,
    ) -> None:
        address = settings.metrics_listen
        check_exposure(address, tls=certificate is not None)
        check_free(address)
        loop = asyncio.get_running_loop()

        async def gather() -> list[Snapshot]:
            return list(await collect())

        def read() -> list[Snapshot]:
            try:
                return asyncio.run_coroutine_threadsafe(gather(), loop).result(timeout=_COLLECT_SECONDS)
            except TimeoutError as error:
                raise RuntimeError(f"the series were not collected within {_COLLECT_SECONDS:g} s") from error

        apps: dict[str, Application] = {}
        for path, evidence in ((ALL, True), (OPERATIONS, False)):
            registry = CollectorRegistry(auto_describe=True)
            registry.register(_OfProcess())
            registry.register(_Collector(resource, read, evidence=evidence))
            apps[path] = make_wsgi_app(registry)
        try:
            self._server = PageServer(split_address(address), settings, certificate, log)
        except OSError as error:
            raise AddressError(f"the metrics page cannot be served on {address}: {error}") from error
        self._server.set_app(_pages(apps))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics page", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Ends the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
