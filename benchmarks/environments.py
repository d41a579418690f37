"""Programs that benchmarks compare with, each in a virtual environment of its own under .venv/."""

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent / ".venv"


def environment(name: str, *requirements: str, python: str = sys.executable) -> Path:
    """The `bin` folder of an environment of `python` with these packages; made at first use.

    Raises:
        subprocess.CalledProcessError: a package cannot be had.
    """
    folder = _ROOT / f"bench-{name}"
    done = folder / "ready"
    if not done.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *requirements], check=True)
        done.touch()
    return folder / "bin"
