"""Upkeep of many things, of which one that cannot be kept up stands in no other's way."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from services.common.errors import AbortedError, FailedPreconditionError

T = TypeVar("T")


def for_each(things: Iterable[T], work: Callable[[T], object]) -> None:
    """Does the work for each.

    Raises:
        FailedPreconditionError, AbortedError: that of the first which could not be done, when all others are.
    """
    failure: FailedPreconditionError | AbortedError | None = None
    for thing in things:
        try:
            work(thing)
        except (FailedPreconditionError, AbortedError) as error:
            failure = failure or error
    if failure is not None:
        raise failure
