"""What the use cases need of a database: transactions, and one transaction's view of all that is kept."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from registry.repositories import (
    Catalog,
    Fleet,
    History,
    Lanes,
    Ledger,
    Looks,
    Monitors,
    Outbox,
    Requests,
    RouteLog,
)

T = TypeVar("T")


class Transaction(Protocol):
    """One transaction's view of the database."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def lanes(self) -> Lanes: ...
    @property
    def fleet(self) -> Fleet: ...
    @property
    def looks(self) -> Looks: ...
    @property
    def monitors(self) -> Monitors: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def history(self) -> History: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def routes(self) -> RouteLog: ...
    @property
    def requests(self) -> Requests: ...

    def flush(self) -> None:
        """Sends what was written, as happens at the latest at the end; what does not hold of it shows now.

        Raises:
            Stale: a compare-and-set found another value.
            DoneBefore: an answer is stored under the key of the one that is put.
        """


class UnitOfWork(Protocol):
    """Runs transactions."""

    def run(
        self,
        work: Callable[[Transaction], T],
        *,
        deadline: float,
        exclusive: bool = False,
        read_only: bool = False,
    ) -> T: ...

    def ask(self, question: Callable[[Transaction], T], *, deadline: float) -> T: ...


class Stale(Exception):  # noqa: N818 - a signal between layers, turned into AbortedError where the caller is known
    """A compare-and-set found another value than the one read."""


class DoneBefore(Exception):  # noqa: N818 - a signal between layers: the stored answer is given instead
    """A mutation's answer is stored under its key already."""
