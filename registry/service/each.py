"""Upkeep of many things, of which one that cannot be kept up stands in no other's way."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from services.common.errors import DeadlineExceededError, UnavailableError

T = TypeVar("T")


def for_each(things: Iterable[T], work: Callable[[T], object]) -> None:
    """Does the work for each.

    Raises:
        UnavailableError, DeadlineExceededError: at once, since no other could be done either.
        Exception: that of the first which could not be done, when all others are. It may be a defect of ours, or what
            somebody did to the rows of one model.
    """
    failure: Exception | None = None
    for thing in things:
        try:
            work(thing)
        except (UnavailableError, DeadlineExceededError):
            raise
        except Exception as error:  # noqa: BLE001 - told to the caller, after the others had their turn
            failure = failure or error
    if failure is not None:
        raise failure


class Rounds(Generic[T]):
    """Upkeep of more than one round takes: what could not be kept up comes after all else the next time.

    Args:
        most: at most so many a round.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Longest ago first, so that they take turns as well.
        self._failed: dict[T, None] = {}

    @property
    def asked(self) -> int:
        """So many have to be looked for, that those which failed stand before no other."""
        return self._most + len(self._failed)

    def failed(self, thing: T) -> bool:
        """Whether it could not be done when it was tried last."""
        return thing in self._failed

    def due(self, things: Iterable[T]) -> list[T]:
        """Those of this round."""
        found = dict.fromkeys(things)
        self._failed = {one: None for one in self._failed if one in found}
        return [*(one for one in found if one not in self._failed), *self._failed][: self._most]

    def each(self, things: Iterable[T], work: Callable[[T], object]) -> None:
        """Does the work for each, as `for_each`, and notes for which that failed."""

        def noting(thing: T) -> None:
            self._failed.pop(thing, None)
            self._failed[thing] = None
            work(thing)
            del self._failed[thing]

        for_each(things, noting)
