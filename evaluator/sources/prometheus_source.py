"""Counts from a Prometheus server that scrapes the processes, for an Evaluator that cannot reach them itself.

A look asks when the processes were scraped, what those scrapes counted and, where runtimes are compared, what other
lanes' requests the same processes had. A reading has the time of its scrape
by the server's clock, so that counts that are stale are seen to be.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evaluator import words
from evaluator.ports import ProcessView
from evaluator.sources.prometheus_elsewhere import elsewhere, selection
from evaluator.sources.prometheus_scrapes import (
    NAMES,
    OF_PROCESS,
    Scrapes,
    Target,
    UnfitError,
    by_process,
    counts_of,
    pick,
    scrapes_of,
)
from evaluator.sources.prometheus_series import PrometheusError, Queries, RawSeries, Selection
from evaluator.terms import Terms
from evaluator.window.arms import CONTROL, LIVE, REDUCED, SHADOW
from evaluator.window.readings import Reading
from evaluator.window.snapshots import found_in
from services.common.clock import Clock
from services.common.telemetry.page_names import INSTANCE

_BATCH: Final = 4
"""Processes per question for counts: each has thousands of series, 3 MB of text."""
_AT_ONCE: Final = 2
"""Questions at a time, until their answers are read: more would take the memory."""
_AHEAD: Final = 5.0
"""Seconds that a scrape may lie in the Evaluator's future; what has ended would pass for fresh for as long."""

Beside = Mapping[tuple[str, Target], Sequence[RawSeries]]
"""Series of attempts, of whatever lane, by process and target."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the counts of one process are, and the labels of all targets that it is."""

    process: ProcessView
    scrapes: Scrapes
    targets: frozenset[Target]


def _span(places: Sequence[_Place]) -> tuple[int, int]:
    """The time that the scrapes cover, and the latest one, in milliseconds."""
    first = min(place.scrapes.times[-1] for place in places)
    last = max(place.scrapes.times[0] for place in places)
    # Before Prometheus 3 a span includes both its ends, since then the later one only.
    return last - first + 1, last


def _check_labels(place: _Place, grouped: Iterable[tuple[tuple[str, Target], Sequence[RawSeries]]]) -> None:
    """Series of the same scrape with labels that no target has would be missed, and all failures may be among them.

    Raises:
        UnfitError: there are some.
    """
    times = set(place.scrapes.times)
    for (name, target), series in grouped:
        other = name == place.process.instance_id and target not in place.targets
        if other and not all(times.isdisjoint(one.samples) for one in series):
            labels = ", ".join(sorted({label for label, _ in target ^ place.scrapes.target}))
            raise UnfitError(
                f"some of its series differ from its target_info in the labels {labels}: look for rules that give "
                "labels to some series alone (metric_relabel_configs), and give them to all or to none"
            )


class PrometheusSource:
    """Reads processes through a Prometheus server.

    Args:
        queries: the server.
        clock: what its times are compared with.
    """

    def __init__(self, queries: Queries, clock: Clock) -> None:
        self._queries = queries
        self._clock = clock

    def age(self, terms: Terms) -> float:
        """Seconds that counts may be old when they are read: older ones are not taken."""
        return terms.policy.stale_after

    async def read(self, processes: Sequence[ProcessView], terms: Terms, timeout: float) -> Sequence[Reading]:
        """Reads every process at once; those that fail within `timeout` seconds give a reading without series."""
        if not processes:
            return ()
        end = self._clock.monotonic() + timeout
        span = round(self.age(terms) * 1000)
        names = [process.instance_id for process in processes]
        try:
            pages = await self._queries.query(Selection(OF_PROCESS, {INSTANCE: names}, span), timeout)
        except PrometheusError as error:
            return [self._nothing(process, str(error)) for process in processes]
        known = scrapes_of(pages)
        readings: dict[str, Reading] = {}
        places: list[_Place] = []
        for process in processes:
            try:
                found = self._known(known, process, terms)
                scrapes = pick(found, span // 2)
                self._check_clock(scrapes, terms)
            except UnfitError as error:
                readings[process.instance_id] = self._nothing(process, str(error))
            else:
                places.append(_Place(process, scrapes, frozenset(one.target for one in found)))
        # Those scraped at about the same time go together, so that no answer covers more scrapes than it must.
        places.sort(key=lambda place: place.scrapes.times)
        try:
            beside = await self._beside(places, terms, end)
        except PrometheusError as error:
            return [self._nothing(process, str(error)) for process in processes]
        limit = asyncio.Semaphore(_AT_ONCE)
        batches = [places[start : start + _BATCH] for start in range(0, len(places), _BATCH)]
        for read in await asyncio.gather(*(self._read_batch(batch, beside, terms, end, limit) for batch in batches)):
            readings |= {one.instance_id: one for one in read}
        return [readings[name] for name in names]

    async def close(self) -> None:
        """Ends what is kept open to the server."""
        await self._queries.close()

    async def _beside(self, places: Sequence[_Place], terms: Terms, end: float) -> Beside:
        """What the processes had of other lanes, where runtimes or inputs are compared: a few lines each."""
        if not places or not (terms.compares_runtimes or terms.compares_inputs):
            return {}
        names = [place.process.instance_id for place in places]
        wanted = selection(terms, names, *_span(places))
        return by_process(await self._queries.query(wanted, end - self._clock.monotonic()))

    async def _read_batch(
        self, places: Sequence[_Place], beside: Beside, terms: Terms, end: float, limit: asyncio.Semaphore
    ) -> list[Reading]:
        labels = {
            "model": (terms.model,),
            "version": (terms.test, terms.stable, ""),
            "traffic": (LIVE, CONTROL, SHADOW, REDUCED, ""),
            "segment": (terms.segment, ""),
            INSTANCE: [place.process.instance_id for place in places],
        }
        wanted = Selection(NAMES, labels, *_span(places))
        async with limit:
            try:
                found = await self._queries.query(wanted, end - self._clock.monotonic())
            except PrometheusError as error:
                return [self._nothing(place.process, str(error)) for place in places]
            # Thousands of series take a while, in which the lease must be renewed.
            return await asyncio.to_thread(self._readings, places, found, beside, terms)

    def _readings(
        self, places: Sequence[_Place], answer: Sequence[RawSeries], beside: Beside, terms: Terms
    ) -> list[Reading]:
        grouped = by_process(answer)
        readings: list[Reading] = []
        for place in places:
            name = place.process.instance_id
            key = (name, place.scrapes.target)
            try:
                _check_labels(place, [*grouped.items(), *beside.items()])
                time, snapshots = counts_of(grouped.pop(key, []), place.scrapes.times, terms.segment)
                snapshots += elsewhere(beside.get(key, ()), time, terms.segment)
            except UnfitError as error:
                readings.append(self._nothing(place.process, str(error)))
            else:
                found, clock = found_in(snapshots, terms), place.scrapes.clock(time)
                started = clock.started_us if clock else 0
                begun = clock.times(found.start_ns) if clock else {}
                readings.append(Reading(name, time * 1000, found.series, started_us=started, begun_us=begun))
        return readings

    def _known(self, known: Mapping[str, Sequence[Scrapes]], process: ProcessView, terms: Terms) -> Sequence[Scrapes]:
        found = known.get(process.instance_id, ())
        if not found:
            raise UnfitError(
                f"Prometheus has not scraped it within {words.duration(self.age(terms))}: make its metrics page "
                "(CROSSFADE_METRICS_LISTEN) a target, and see on Prometheus's page of targets whether it is up"
            )
        return found

    def _check_clock(self, scrapes: Scrapes, terms: Terms) -> None:
        """The server gave scrapes that are fresh by its clock; by the Evaluator's they must be so too."""
        patience = self.age(terms)
        passed = self._clock.now() - scrapes.times[0] / 1000
        if passed < -min(_AHEAD, patience / 2):
            raise UnfitError(
                f"its latest scrape lies {words.duration(-passed)} in the future: set the clocks of Prometheus and of "
                "the Evaluator (NTP)"
            )
        if passed > patience + _AHEAD:
            raise UnfitError(
                f"its latest scrape is {words.duration(passed)} old, and younger than {words.duration(patience)} by "
                "Prometheus's clock: set the clocks of Prometheus and of the Evaluator (NTP)"
            )

    def _nothing(self, process: ProcessView, why: str) -> Reading:
        return Reading(process.instance_id, round(self._clock.now() * 1e6), None, why)
