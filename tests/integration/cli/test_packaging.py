"""What `package` makes of a module, and what it says when it refuses: in the options of the command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from crossfade.cli.app import build
from tests.integration.cli.conftest import Command

MODELS = """
from torch import nn


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log().sum(dim=1, keepdim=True)


def scores():
    return nn.Linear(3, 2)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models and their rows: the first ones of negative numbers."""
    (tmp_path / "models.py").write_text(MODELS)
    rows = np.linspace(-1.0, 1.0, 48, dtype=np.float32).reshape(16, 3)
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path


def refusal(folder: Path, model: str, *options: str, code: int = 1) -> str:
    """What the command says of a model that it does not package."""
    arguments = [
        "package",
        f"{folder / 'models.py'}:{model}",
        *("--example", str(folder / "rows.npy")),
        *("--to", str(folder / "artifact")),
        *options,
    ]
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == code, result.output
    return result.stderr


def test_a_folder_that_exists_names_the_option(folder: Path) -> None:
    (folder / "artifact").mkdir()
    assert "choose another folder, or pass --overwrite\n" in refusal(folder, "scores")


def test_a_task_names_the_option(folder: Path) -> None:
    said = refusal(folder, "Logarithm", "--classes", "no,yes")
    assert said.endswith("for numbers that are no classes pass --task regression or --task other\n")


def test_rows_without_an_answer_say_where_others_are_given(folder: Path) -> None:
    said = refusal(folder, "Logarithm")
    assert said.endswith("repair the module, or begin --example with rows that it answers\n")


def test_names_of_columns_need_a_reference(folder: Path) -> None:
    said = refusal(folder, "scores", "--features", "a,b", code=2)
    assert said.startswith("error: --features: it is about the profile of training inputs, and there is neither a ")
    columns = ("--features", "a,b", "--reference", str(folder / "rows.npy"))
    assert "--features: 2 names for the 3 columns" in refusal(folder, "scores", *columns, code=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--task", "nope"), "--task: 'nope' is not one of classification, regression, other"),
        (("--precision", "nope"), "--precision: 'nope' is not known: auto, fp32, bf16, fp16 are"),
        (("--nan-policy", "nope"), "--nan-policy: 'nope' is not known: propagate, raise are"),
        (("--classes", "a,b", "--positive", "c"), "--positive: 'c' is not one of the classes a, b"),
    ],
)
def test_a_word_that_is_none_is_wrong_usage(folder: Path, options: tuple[str, ...], words: str) -> None:
    assert refusal(folder, "scores", *options, code=2) == f"error: {words}\n"


def test_what_is_no_module(crossfade: Command, sources: Path) -> None:
    rest = ("--example", str(sources / "rows.npy"), "--to", str(sources / "never"))
    assert "is a int, neither" in crossfade("package", f"{sources / 'model.py'}:number", *rest, code=1).stderr
    assert "has no 'absent'" in crossfade("package", f"{sources / 'model.py'}:absent", *rest, code=1).stderr


def test_a_file_that_ends_the_program_is_no_success(folder: Path) -> None:
    (folder / "models.py").write_text(f"{MODELS}\n\nraise SystemExit(0)\n")
    assert refusal(folder, "scores").endswith(
        'models.py cannot be imported, since it ends the program: put what it runs below `if __name__ == "__main__":`\n'
    )
    (folder / "models.py").write_text(f"{MODELS}\n\ndef leave():\n    raise SystemExit(0)\n")
    assert refusal(folder, "leave").endswith("leave() ends the program: name a callable that gives the module\n")


def test_what_a_models_code_prints_is_no_part_of_the_result(folder: Path) -> None:
    (folder / "models.py").write_text(f'{MODELS}\n\nprint("loading")\n')
    arguments = ["package", f"{folder / 'models.py'}:scores", "--example", str(folder / "rows.npy"), "--json"]
    result = CliRunner().invoke(build(), [*arguments, "--to", str(folder / "artifact")])
    assert json.loads(result.stdout)["path"] == str((folder / "artifact").resolve())
    assert "loading\n" in result.stderr


def test_one_step_of_a_model_that_answers_in_parts_is_packaged(
    crossfade: Command, sources: Path, tmp_path: Path
) -> None:
    (tmp_path / "decay.py").write_text(
        "from torch import Tensor, nn\n\n\n"
        "class Decay(nn.Module):\n"
        "    def forward(self, rows: Tensor) -> dict[str, Tensor]:\n"
        "        return {'rows': rows * 0.5, 'size': rows.sum(dim=1, keepdim=True)}\n"
    )
    loop = tmp_path / "loop.json"
    loop.write_text('{"feeds": {"input": "rows"}, "parts": ["size"], "max_parts": 9}')
    rows = str(sources / "rows.npy")
    call = ("package", f"{tmp_path / 'decay.py'}:Decay", "--example", rows, "--loop", str(loop))
    crossfade(*call, "--to", str(tmp_path / "decay"))
    crossfade("publish", "decay", str(tmp_path / "decay"))
    shown = crossfade("versions", "show", "decay", "v1").stdout
    assert "size, step by step (crossfade predict --stream)" in shown
    loop.write_text('{"feeds": {"input": "rows"}, "parts": ["size"]}')
    refused = crossfade(*call, "--to", str(tmp_path / "again"), code=2)
    assert "max_parts: missing" in refused.stderr
    assert '"feeds": {"INPUT": "OUTPUT"}' in refused.stderr
    assert "cannot be read" in crossfade(*call[:-1], "/nowhere.json", "--to", str(tmp_path / "again"), code=1).stderr
