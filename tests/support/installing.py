"""Packages of architectures, laid out as pip lays them out, so that the real look-up finds them."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from crossfade.architecture import GROUP

EXAMPLES = Path(__file__).parents[2] / "examples" / "architectures"


def install(folder: Path, package: str, entries: Mapping[str, str], source: str = "", version: str = "1.0") -> Path:
    """Installs a package into a folder, which is to be put on `sys.path`.

    Args:
        folder: like site-packages.
        package: its name, which is that of its one module.
        entries: architectures, as in `{"mlp": "package:Perceptron"}`.
        source: the module's text.
        version: the package's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{package}.py").write_text(source)
    information = folder / f"{package}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in entries.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def install_examples(folder: Path) -> Path:
    """Installs the package in `examples/architectures`."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text())["project"]
    source = (EXAMPLES / "example_architectures.py").read_text()
    return install(folder, "example_architectures", project["entry-points"][GROUP], source, project["version"])
