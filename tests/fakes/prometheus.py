"""A Prometheus server in memory: it scrapes pages, and answers selections as the real one does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from evaluator.sources.prometheus_series import PrometheusError, RawSeries, Selection
from services.common.telemetry.otlp import Resource
from services.common.telemetry.prometheus import families
from services.common.telemetry.store import Snapshot

Labels = tuple[tuple[str, str], ...]
Change = Callable[[str, Mapping[str, str], float], float | None]


@dataclass
class FakePrometheus:
    """What it has scraped.

    Attributes:
        now: its present, milliseconds since 1970-01-01 UTC.
        kept: samples by labels.
        asked: every selection that it was asked for.
        started_ns: when the processes started, by their own clocks, nanoseconds since 1970-01-01 UTC.
        own_ns: what those show; 0: the same as the server's.
        failures: what the next questions get instead of an answer; None: an answer.
    """

    now: int = 1_700_000_000_000
    kept: dict[Labels, dict[int, float]] = field(default_factory=dict)
    asked: list[Selection] = field(default_factory=list)
    started_ns: int = 0
    own_ns: int = 0
    failures: list[PrometheusError | None] = field(default_factory=list)

    def scrape(
        self,
        instance: str,
        snapshots: Iterable[Snapshot],
        target: Mapping[str, str] | None = None,
        change: Change = lambda _name, _labels, value: value,
    ) -> None:
        """Scrapes one page now.

        Args:
            instance: whose.
            snapshots: what stands on it.
            target: the target's labels.
            change: a sample's value as it is kept; None: it is not kept.
        """
        added = target if target is not None else {"job": "crossfade", "instance": f"{instance}:9500"}
        for family in families(
            Resource("crossfade-router", instance, self.started_ns), snapshots, self.own_ns or self.now * 1_000_000
        ):
            for sample in family.samples:
                value = change(sample.name, sample.labels, sample.value)
                if value is None:
                    continue
                # The server renames the page's labels where the target has one of that name, and keeps no empty ones.
                page = {f"exported_{name}" if name in added else name: text for name, text in sample.labels.items()}
                whole = {"__name__": sample.name, **page, **added}
                labels = tuple(sorted((name, text) for name, text in whole.items() if text))
                self.kept.setdefault(labels, {})[self.now] = float(value)

    async def query(self, selection: Selection, timeout: float) -> Sequence[RawSeries]:
        """The samples of every series that matches."""
        self.asked.append(selection)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        until = self.now if selection.until is None else selection.until
        found = []
        for labels, samples in self.kept.items():
            inside = {when: value for when, value in samples.items() if until - selection.span < when <= until}
            if not inside:
                continue
            named = dict(labels)
            if named["__name__"] in selection.names and all(
                named.get(label, "") in values for label, values in selection.labels.items()
            ):
                found.append(RawSeries(named, inside))
        return found

    async def close(self) -> None:
        """Nothing is open."""
