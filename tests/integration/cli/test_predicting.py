"""Predictions and labels by the command."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import Command, Json
from tests.integration.cli.stack import TOKEN, Stack


def test_predict_and_feedback(
    crossfade: Command, crossfade_json: Json, stack: Stack, running: str, sources: Path, tmp_path: Path
) -> None:
    rows = str(sources / "rows.npy")
    said = crossfade(
        *("predict", running, "--input", rows, "--rows", "2", "--key", "u1"),
        *("--save", str(tmp_path / "answer.json"), "--output", str(tmp_path / "out.npz")),
    ).stdout.splitlines()
    assert said[0].startswith(f"{running} v1 answered 2 rows in ")
    assert said[2].split() == ["0", "middle", "0.1", "0.8", "0.1"]
    assert said[-1] == f"prediction {TOKEN}"
    # The model takes float32, and the file has float64.
    assert [(one.name, one.datatype) for one in stack.predictions.requests[-1].inputs] == [("input", "FP32")]
    assert stack.predictions.metadata[-1]["x-crossfade-key"] == "u1"
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["output"].shape == (2, 3)
    assert json.loads((tmp_path / "answer.json").read_text())["predicted"] == ["middle", "middle"]
    assert crossfade("feedback", str(tmp_path / "answer.json"), "low", "-", "high").stdout == "2 labels counted\n"
    again = crossfade_json("feedback", TOKEN, "low", "--row", "0")
    assert again == {"accepted": 0, "labels": 0, "values": 0, "duplicates": 1, "too_late": 0, "refused": []}
    refused = crossfade("feedback", "forged", "low", code=1)
    assert refused.stderr == "error: 1 label refused: the prediction id is not ours\n"
    # A segment without a lane of its own has the default lane's classes.
    assert crossfade_json("predict", running, "--input", rows, "--rows", "1", "--segment", "eu")["predicted"] == [
        "middle"
    ]
    from_stdin = crossfade("predict", running, "--input", "-", "--json", stdin="[[1, 2, 3, 4]]").stdout
    assert json.loads(from_stdin)["version"] == "v1"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_file_without_room_is_named_and_so_is_the_prediction(crossfade: Command, sources: Path) -> None:
    for option in ("--save", "--output"):
        said = crossfade("predict", "m", "--input", str(sources / "rows.npy"), option, "/dev/full", code=1).stderr
        assert said == f"error: /dev/full cannot be written: No space left on device; the prediction is {TOKEN}\n"


def test_an_answer_in_parts_is_printed_as_it_comes(
    crossfade: Command, stack: Stack, running: str, sources: Path, tmp_path: Path
) -> None:
    call = ("predict", running, "--input", str(sources / "rows.npy"), "--rows", "1", "--stream")
    files = ("--save", str(tmp_path / "last.json"), "--output", str(tmp_path / "parts.npz"))
    said = crossfade(*call, "--max-parts", "2", "--key", "u1", *files).stdout.splitlines()
    assert said[:2] == ["     1  character 0", "     2  character 1"]
    assert said[2].startswith(f"{running} v1 answered 2 parts in ")
    assert said[3:] == [f"prediction {TOKEN}"]
    assert stack.predictions.metadata[-1]["x-crossfade-key"] == "u1"
    with np.load(tmp_path / "parts.npz") as outputs:
        assert outputs["character"].ravel().tolist() == [0, 1]
    assert json.loads((tmp_path / "last.json").read_text())["prediction_id"] == TOKEN
    lines = crossfade(*call, "--json").stdout.splitlines()
    parts = [json.loads(line) for line in lines]
    assert [part["part"] for part in parts] == [1, 2, 3]
    assert [part["prediction_id"] for part in parts] == ["", "", TOKEN]
    assert parts[2]["outputs"] == {"character": [[2]]}
    refused = crossfade("predict", running, "--input", str(sources / "rows.npy"), "--max-parts", "2", code=2)
    assert "--max-parts is for --stream" in refused.stderr


def test_an_answer_that_does_not_come_in_time(
    crossfade: Command, stack: Stack, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.predictions, "silent", True)
    for more in ((), ("--stream",)):
        late = crossfade("predict", "m", "-i", str(sources / "rows.npy"), "--timeout", "200ms", *more, code=3)
        assert late.stderr == (
            f"error: {stack.router} did not answer in time (--timeout 200ms). Is it overloaded? "
            "(--router or CROSSFADE_ROUTER set another address)\n"
        )


def test_a_call_is_given_some_time(crossfade: Command, sources: Path) -> None:
    for written in ("0", "0s"):
        for more in ((), ("--stream",)):
            said = crossfade("predict", "m", "-i", str(sources / "rows.npy"), "--timeout", written, *more, code=2)
            assert said.stderr == f"error: --timeout {written} leaves no time for an answer: write 5s\n"


def test_another_service_answers(crossfade: Command, stack: Stack, sources: Path) -> None:
    said = crossfade("predict", "m", "-i", str(sources / "rows.npy"), "--router", stack.registry, code=1).stderr
    assert said.startswith(f"error: what answers at {stack.registry} is no Router of Crossfade")
