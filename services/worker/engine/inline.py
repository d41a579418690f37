"""A light program in a front-end: proved there, and run for a row that comes alone."""

import math
from pathlib import Path
from typing import Final

import torch

from crossfade.artifact import read_golden
from crossfade.manifest import Manifest, Precision
from services.common.clock import Clock
from services.worker.domain import FailureCode, LoadError
from services.worker.engine.batcher import Batcher
from services.worker.engine.engine import Engine
from services.worker.engine.golden import SINGLE_ROWS, GoldenCheck
from services.worker.engine.light import unpack
from services.worker.engine.runs import Runs
from services.worker.engine.stretches import Stretch
from services.worker.shared_memory.exchange import Exchange
from services.worker.shared_memory.records import Outcome

_CPU: Final = torch.device("cpu")
_MOST_SECONDS: Final = 0.003
"""Many times what a light program takes: of what one does that takes more, not all was counted."""


class Inline:
    """Runs single rows.

    Args:
        engine: of a light program.
    """

    def __init__(self, engine: Engine) -> None:
        self._runs = Runs(engine.begin, Batcher(1, 1))

    def __call__(self, exchange: Exchange, place: int) -> tuple[Outcome, bool, str]:
        """Runs the row at `place`: how it ended, whether it is finite, and what was said."""
        where = (Stretch(exchange, place, place + 1),)
        return self._runs.outcome(self._runs.begin(where), where, 1)


def take_over(packed: bytes, folder: Path, manifest: Manifest, precision: Precision, clock: Clock) -> Inline | None:
    """What runs a light program here; None: it takes too long for that.

    Args:
        packed: the program, as the engine has packed it.
        folder: the version's artifact.
        manifest: likewise.
        precision: what it runs in.
        clock: times it.

    Raises:
        LoadError: it does not answer here as it did when it was packaged.
        ArtifactError: the golden rows cannot be read.
    """
    # One row is not worth more, and OpenMP's threads contend with gRPC's.
    torch.set_num_threads(1)
    # What it is made with is never run.
    engine = Engine(torch.nn.Identity(), manifest, _CPU)
    engine.settle(precision)
    engine.take(unpack(packed).function())
    check = GoldenCheck(engine, read_golden(folder, manifest), manifest)
    fastest = math.inf
    for row in range(min(SINGLE_ROWS, check.rows)):
        began = clock.monotonic()
        error = check.error_of(row, row + 1, precision)
        fastest = min(fastest, clock.monotonic() - began)
        if not error <= 1:
            raise LoadError(check.complaint(precision, error), FailureCode.VERIFY_FAILED)
    return Inline(engine) if fastest <= _MOST_SECONDS else None
