"""A model that ends its process, hangs or takes all memory when a row tells it to."""

from typing import Any

from tests.fakes.models import reference_rows

EXIT, SYSTEM_EXIT, SEGFAULT, INTERRUPT, LEAK, SLEEP, LOOP = (float(number) for number in range(50, 57))
LEAK_BYTES = 20_000_000

HOUSE = f"""
import ctypes, os, sys, time
from pathlib import Path

from torch import nn

kept = []


class Linear(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        beside = Path(__file__)
        if beside.with_name("exits").exists():
            os._exit(0)
        if beside.with_name("swells").exists():
            kept.append(b"1" * 300_000_000)
            time.sleep(600)

    def forward(self, rows):
        # Wherever it lies in its batch: other values are below 1.
        match float(rows[:, 0].max()):
            case {EXIT}:
                os._exit(0)
            case {SYSTEM_EXIT}:
                sys.exit("no licence")
            case {SEGFAULT}:
                ctypes.string_at(0)
            case {INTERRUPT}:
                raise KeyboardInterrupt
            case {LEAK}:
                kept.append(b"1" * {LEAK_BYTES})
            case {SLEEP}:
                time.sleep(600)
            case {LOOP}:
                while True:
                    pass
        return super().forward(rows)
"""


def told(what: float) -> Any:
    """A row that the model does that for."""
    row = reference_rows(1)
    row[0, 0] = what
    return row
