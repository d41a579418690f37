"""What Prometheus has of other lanes' requests: one question more, for one line of each histogram of attempts."""

from collections.abc import Iterable, Sequence

from evaluator.sources.prometheus_scrapes import whole
from evaluator.sources.prometheus_series import RawSeries, Selection
from evaluator.terms import Terms
from services.common.telemetry.catalog import ATTEMPT_DURATION
from services.common.telemetry.page_names import INSTANCE, page_name
from services.common.telemetry.store import Snapshot

_COUNT = f"{page_name(ATTEMPT_DURATION)}_count"


def selection(terms: Terms, instances: Sequence[str], span: int, until: int) -> Selection:
    """All attempts of both versions, whatever lane they are of."""
    labels = {"model": (terms.model,), "version": (terms.test, terms.stable), INSTANCE: instances}
    return Selection((_COUNT,), labels, span, until)


def elsewhere(found: Iterable[RawSeries], time: int, segment: str) -> list[Snapshot]:
    """Attempts of other segments' lanes that one scrape of one process counted.

    Raises:
        UnfitError: they are no counts.
    """
    return [
        Snapshot(
            ATTEMPT_DURATION,
            tuple(one.labels.get(name, "") for name in ATTEMPT_DURATION.attributes),
            (whole(ATTEMPT_DURATION, one.samples[time]),),
        )
        for one in found
        if time in one.samples and one.labels.get("segment", "") != segment
    ]
