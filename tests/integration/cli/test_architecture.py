"""Weights for an architecture, by the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossfade.artifact import Architecture, verify
from tests.integration.cli.conftest import Command
from tests.support.installing import install

SOURCE = """
import torch


class Scores(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.linear = torch.nn.Linear(4, classes)

    def forward(self, x):
        return self.linear(x)
"""


@pytest.fixture
def packaging(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, ...]]:
    """Arguments that package the model of `sources` where the architecture `scores` is installed."""
    site = install(tmp_path / "site", "cli_house", {"scores": "cli_house:Scores"}, SOURCE)
    monkeypatch.syspath_prepend(str(site))

    def arguments(*further: str) -> tuple[str, ...]:
        place, rows = f"{sources / 'model.py'}:make", str(sources / "rows.npy")
        return "package", place, "--example", rows, "--to", str(tmp_path / "m"), *further

    return arguments


def test_weights_are_packaged_and_published(
    crossfade: Command, packaging: Callable[..., tuple[str, ...]], tmp_path: Path
) -> None:
    said = crossfade(*packaging("--architecture", "scores", "--config", '{"classes": 3}')).stdout
    assert "weights for the architecture scores, " in said
    assert verify(tmp_path / "m").manifest.architecture == Architecture("scores", {"classes": 3})

    published = crossfade("publish", "weights", str(tmp_path / "m"))
    assert published.stdout.startswith("v1 published; it is STABLE at once")
    assert published.stderr == (
        "It is weights for the architecture scores: Workers need it in CROSSFADE_ARCHITECTURES, and its package\n"
    )
    as_json = crossfade("publish", "weights", str(tmp_path / "m"), "--json")
    assert json.loads(as_json.stdout)["version"]["name"] == "models/weights/versions/v2"
    assert as_json.stderr == ""


def test_a_program_is_for_no_architecture(
    crossfade_json: Callable[..., Any], packaging: Callable[..., tuple[str, ...]]
) -> None:
    assert crossfade_json(*packaging())["architecture"] is None
    options = ("--architecture", "scores", "--config", '{"classes": 3}', "--overwrite")
    assert crossfade_json(*packaging(*options))["architecture"] == "scores"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--config", "{}"), 2, "error: --config is for an architecture: say which with --architecture"),
        (("--architecture", "scores", "--config", "classes=3"), 2, "--config: no JSON at line 1 column 1"),
        (("--architecture", "scores", "--config", "[3]"), 2, "--config: must hold a JSON object"),
        (("--architecture", "sc ores"), 2, "--architecture: name: 'sc ores' is no name of an architecture"),
        (("--architecture", "scores"), 1, "can't be built from its config: TypeError: "),
        (("--architecture", "score"), 1, "the architecture 'score' is not installed here"),
        (("--architecture", "scores", "--config", '{"classes": 4}'), 1, "'linear.weight' is float32 [3, 4], its own"),
    ],
)
def test_refusals(
    crossfade: Command,
    packaging: Callable[..., tuple[str, ...]],
    options: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    assert words in crossfade(*packaging(*options), code=code).stderr
