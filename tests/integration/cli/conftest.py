"""The command, against real services."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from crossfade.cli.app import build
from tests.integration.cli.stack import Stack
from tests.support.postgres import Server

Command = Callable[..., Result]
Json = Callable[..., Any]

_MODULE = """
import torch


class Scores(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x)


def make():
    torch.manual_seed(0)
    return Scores()


number = 5
"""


@pytest.fixture(scope="session")
def stack(postgres: Server, migrated_template: str) -> Iterator[Stack]:
    """One set of services for all tests; each test uses a model of its own."""
    name = f"cli_{uuid.uuid4().hex}"
    postgres.create_database(name, template=migrated_template)
    running = Stack(postgres.url(name))
    yield running
    running.close()
    postgres.drop_database(name)


@pytest.fixture
def crossfade(stack: Stack) -> Command:
    """Runs the command as ana."""
    addresses = ["--registry", stack.registry, "--router", stack.router, "--evaluator", stack.evaluator]

    def run(*arguments: str, code: int = 0, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(build(), [*addresses, "--user", "ana", *arguments], input=stdin)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def crossfade_json(crossfade: Command) -> Json:
    """Runs the command with --json and reads what it prints."""
    return lambda *arguments, code=0: json.loads(crossfade(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module with a model, and rows for it."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(_MODULE)
    rows = np.random.default_rng(1).random((64, 4))
    np.save(folder / "rows.npy", rows)
    return folder


@pytest.fixture(scope="session")
def artifact(sources: Path) -> Path:
    """What `crossfade package` makes of it."""
    rows = str(sources / "rows.npy")
    place = f"{sources / 'model.py'}:make"
    arguments = ["--example", rows, "--reference", rows, "--classes", "low,middle,high", "--to", str(sources / "m-1")]
    result = CliRunner().invoke(build(), ["package", place, *arguments])
    assert result.exit_code == 0, result.output
    assert "classification, 4 features watched for drift" in result.stdout
    return sources / "m-1"


@pytest.fixture
def running(crossfade: Command, stack: Stack, artifact: Path, request: pytest.FixtureRequest) -> str:
    """A model whose v2 is tested against v1."""
    model = str(request.node.name).replace("_", "-")[:60]
    crossfade("publish", model, str(artifact))
    stack.report(model, "v1")
    crossfade("publish", model, str(artifact), "--plan", "5%,50%", "--period", "10m")
    stack.report(model, "v1", "v2")
    return model
