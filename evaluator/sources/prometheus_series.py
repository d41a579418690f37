"""What is asked of a Prometheus server, and what it answers: series with the samples that it scraped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One series.

    Attributes:
        labels: as Prometheus has them, `__name__` among them; it keeps no empty ones.
        samples: values by the time of their scrape, milliseconds since 1970-01-01 UTC.
    """

    labels: Mapping[str, str]
    samples: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which samples are wanted.

    Attributes:
        names: one of them is the series' name.
        labels: by label, the values of which it has one; "" stands for a series without that label.
        span: the time that they cover, in milliseconds.
        until: the latest time, milliseconds since 1970-01-01 UTC; None: the server's present.
    """

    names: Sequence[str]
    labels: Mapping[str, Sequence[str]]
    span: int
    until: int | None = None


class PrometheusError(Exception):
    """The server gives no answer that can be used; the message says why and what to do, as a sentence part."""


class Queries(Protocol):
    """What a Prometheus server has scraped of the processes, series by series."""

    async def query(self, selection: Selection, timeout: float) -> Sequence[RawSeries]:
        """The samples of every series that matches, within `timeout` seconds.

        Raises:
            PrometheusError: there is no answer, or only a part of it.
        """

    async def close(self) -> None:
        """Ends what is kept open."""
