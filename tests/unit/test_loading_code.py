"""What a stored program or stored weights are read with stands where it is known to, and nowhere else."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SILENT: Final = re.compile(r"#.*\bTID251\b|#\s*(?:(?:ruff|flake8)\s*:\s*)?noqa\b(?!:)", re.IGNORECASE)
"""What keeps ruff from saying that a function is banned (TID251), by its name or with all else."""


def test_stored_code_is_read_in_these_places_alone() -> None:
    """What reads a file of torch's may run what its author put there, so that ruff bans it (`banned-api`).

    - `engine/loader.py`, twice: the one place that reads artifacts, a program and weights, both after they are vetted.
    - `engine/light.py`: a front-end reads the weights that its engine has loaded, and hands on.
    - `version/preload.py`: what is to be warm before a fork reads a program that it has just written itself.
    - `artifact/building.py`: packaging reads the weights that it has just written itself.

    Whoever adds a place here shows that nothing gets there which has not been vetted.
    """
    found: Counter[str] = Counter()
    for package in ("services", "sdk", "registry", "router", "evaluator"):
        for path in (ROOT / package).rglob("*.py"):
            found[str(path.relative_to(ROOT))] += sum(
                _SILENT.search(line) is not None for line in path.read_text().splitlines()
            )
    assert +found == {
        "services/worker/engine/loader.py": 2,
        "services/worker/engine/light.py": 1,
        "services/worker/version/preload.py": 1,
        "sdk/crossfade/artifact/building.py": 1,
    }


def test_no_folder_is_spared() -> None:
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "TID" in rules["select"]
    ignored = [*rules["ignore"], *(code for codes in rules["per-file-ignores"].values() for code in codes)]
    assert not [code for code in ignored if code.startswith("TID")]
