"""Upkeep of many things, of which one that cannot be kept up stands in no other's way."""

from collections.abc import Callable, Iterable
from typing import TypeVar

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
