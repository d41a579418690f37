"""Whether the GPU that the settings name is there, asked by a process of its own.

The supervisor does without torch; and a process that has asked CUDA has no forks that could use it.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Final

_COUNT: Final = "import torch; print(torch.cuda.device_count())"
_SECONDS: Final = 300.0


def count_gpus() -> int:
    """How many CUDA devices torch finds.

    Raises:
        ValueError: that cannot be found out.
    """
    command = [sys.executable, "-c", _COUNT]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        return int(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        raise ValueError(f"CROSSFADE_DEVICE: CUDA devices cannot be counted: {error}") from error


def check_device(name: str, count: Callable[[], int] = count_gpus) -> None:
    """Refuses a CUDA device that is not there, without which no version could be loaded.

    Args:
        name: as the setting says it.
        count: how many there are.

    Raises:
        ValueError: it is not there.
    """
    if not name.startswith("cuda"):
        return
    index, found = int(name.partition(":")[2] or 0), count()
    if index >= found:
        raise ValueError(
            f"CROSSFADE_DEVICE is {name}, and torch finds {found} CUDA devices here: set it to a device that is "
            "there, or to auto or cpu"
        )
