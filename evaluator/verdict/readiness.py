"""Whether Workers can serve the versions of a rollout at all: what takes no statistics to see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

PATIENCE = 900.0
"""Seconds after which a rollout whose version is ready nowhere ends INCONCLUSIVE."""
_ALL_HEARD = 30.0
"""Seconds that a Worker which has said nothing of the version is waited for."""

CRASHED = "CRASHED"
LOAD_FAILED = "LOAD_FAILED"


class Serving(StrEnum):
    """How far a Worker is with a version."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    DRAINING = "draining"


_SERVES = frozenset({Serving.READY, Serving.DRAINING})


@dataclass(frozen=True, slots=True)
class Served:
    """One version and kind of traffic on one Worker.

    Attributes:
        version: the version's id.
        control: the process for control's traffic; False: for live traffic.
        state: how far it is.
        error: why it failed, or what is in the way, as a sentence.
        error_code: LOAD_FAILED, VERIFY_FAILED, CRASHED (also of a stable version that is started again), or empty.
    """

    version: str
    control: bool
    state: Serving
    error: str = ""
    error_code: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    """What one Worker says of the rollout's model."""

    instance_id: str
    served: tuple[Served, ...]

    def of(self, version: str, *, control: bool = False) -> Served | None:
        """What it says of a version; None: nothing."""
        return next((one for one in self.served if one.version == version and one.control is control), None)


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that cannot be served, which takes no statistics."""

    code: str
    reason: str


def find_failure(workers: Sequence[Worker], test: str, stable: str, waited: float) -> Failure | None:
    """Whether the test version has failed: it crashed where stable did not, or failed to load wherever it was tried.

    Args:
        workers: every Worker.
        test: the test version's id.
        stable: the stable version's id.
        waited: seconds since the rollout's first look.
    """
    tried = [(worker, served) for worker in workers if (served := worker.of(test)) is not None]
    for worker, served in tried:
        other = worker.of(stable)
        # Not while it is loading: what has failed there may be tried again, and says nothing until it is ready.
        stable_fine = other is None or (other.state in _SERVES and other.error_code != CRASHED)
        if served.state is Serving.FAILED and served.error_code == CRASHED and stable_fine:
            return Failure(
                CRASHED, f"{test}'s process crashed twice while {stable}'s did not: {_sentence(served.error)}"
            )
    all_failed = all(served.state is Serving.FAILED for _, served in tried)
    # Crashes that stable shares are the machine's fault.
    unloadable = [served for _, served in tried if served.error_code != CRASHED]
    if all_failed and unloadable and (len(tried) == len(workers) or waited >= _ALL_HEARD):
        where = "the Worker" if len(tried) == 1 else f"any of the {len(tried)} Workers"
        return Failure(
            LOAD_FAILED, f"{test} could not be loaded by {where} that tried: {_sentence(unloadable[0].error)}"
        )
    return None


def obstacle(workers: Iterable[Worker], version: str) -> str:
    """What keeps some Worker from having the version ready, as a sentence; empty: nothing is known."""
    errors = (one.error for worker in workers if (one := worker.of(version)) is not None)
    return next((error for error in errors if error), "")


def is_ready(workers: Iterable[Worker], version: str) -> bool:
    """Whether some Worker has the version ready for live traffic."""
    return any((one := worker.of(version)) is not None and one.state is Serving.READY for worker in workers)


def control_missing(workers: Iterable[Worker], stable: str) -> bool:
    """Whether every Worker that tried to run the control process has failed to: runtimes have no equal to compare."""
    tried = [one for worker in workers if (one := worker.of(stable, control=True)) is not None]
    return bool(tried) and all(one.state is Serving.FAILED for one in tried)


def _sentence(error: str) -> str:
    return error or "no reason was given"
