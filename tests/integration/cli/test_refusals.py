"""What the command refuses: in which words, and with which exit codes."""

import json
import socket
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Command

ID = "0f5a6d1e-0000-4000-8000-000000000005"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("status", "nobody"), 1, "error: there is no model nobody; `crossfade models` lists them"),
        (("versions", "show", "nobody", "v1"), 1, "error: "),
        (("versions", "show", "nobody"), 2, "error: write crossfade versions MODEL"),
        (("status", "not a model"), 2, "error: model 'not a model' is not an id"),
        (("status", "m", "--interval", "soon"), 2, "error: --interval: 'soon' is no duration"),
        (("publish", "m"), 2, "Missing argument 'DIR'"),
        (("publish", "m", "/nowhere"), 1, "error: /nowhere is no artifact"),
        (("publish", "m", "/nowhere", "--share", "5%", "--plan", "5%"), 2, "error: --plan and --share"),
        (("events", "--rollout", "3"), 2, "error: --rollout takes a model"),
        (("predict", "m", "--input", "/nowhere.npy"), 1, "error: /nowhere.npy cannot be read"),
        (("predict", "Jürgen", "--input", "/nowhere.npy"), 2, "error: model 'Jürgen' is not an id"),
        (("predict", "m", "--input", "/nowhere.npy", "--key", "Jürgen"), 2, "error: --key 'Jürgen' has characters"),
        (
            ("predict", "m", "--input", "/nowhere.npy", "--segment", "a\nb"),
            2,
            "error: --segment 'a\\nb' has characters",
        ),
        (("predict", "m", "--input", "/nowhere.npy", "--segment", "A_B!"), 2, "error: segment 'A_B!' is not an id"),
        (("route", "m", "--segment", "A_B!"), 2, "error: segment 'A_B!' is not an id"),
        (("predict", "m", "--input", "/nowhere.npy", "--version", "é", "--stream"), 2, "error: --version 'é' has"),
        (
            ("publish", "m", "/nowhere", "--policy", "/nowhere.yaml"),
            1,
            "error: /nowhere.yaml cannot be read: No such file",
        ),
        (("policy", "check", "/nowhere.yaml"), 1, "error: /nowhere.yaml cannot be read: No such file"),
        (("feedback", "/nowhere.json", "low"), 1, "error: /nowhere.json cannot be read"),
        (("feedback", "x.json", "1", "--row", "64"), 2, "Invalid value for '--row'"),
        (("package", "nothing", "--example", "x.npy", "--to", "y"), 2, "error: 'nothing' names no model"),
        (("package", "none.py:x", "--example", "x.npy", "--to", "y"), 1, "error: there is no file none.py"),
        (("events", "--type", "nope"), 2, "error: --type 'NOPE' is no type of events: there are ALERT_ENDED, "),
        (("events", "--since", "1900-01-01"), 2, "error: --since is no time of this age; use one from 1970 to 8900"),
        (("events", "--until", "9990-01-01"), 2, "error: --until is no time of this age; use one from 1970 to 8900"),
        (("events", "--version", "v 1"), 2, "error: version 'v 1' is not an id"),
        (("history", "m", "--at", "9990-01-01"), 2, "error: --at is no time of this age"),
        (("webhooks", "drop", "w", "--before", "9990-01-01"), 2, "error: --before is no time of this age"),
        (("versions", "m", "--segment", "E U"), 2, "error: segment 'E U' is not an id"),
        (("describe", "m", 5_000 * "x"), 2, "error: TEXT has 5000 characters; at most 4000 are kept"),
        (("certs", "dev", "--to", "/nowhere", "--name", "a b"), 2, "error: --name 'a b' is neither a host name nor"),
        (("models", "--registry", "nowhere"), 2, "error: --registry 'nowhere' is not an address"),
        (("models", "--user", "Jürgen"), 2, "error: the user name 'Jürgen' has characters beyond ASCII"),
    ],
)
def test_refusals(crossfade: Command, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = crossfade(*arguments, code=code)
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "m", "-i"),
        ("feedback", "id", "--labels"),
        ("publish", "m", "/nowhere", "--policy"),
        ("forecast", "m", "--policy"),
        ("policy", "check"),
        ("profile",),
        ("profile", "ROWS", "--label"),
        ("package", "MODULE", "--to", "/nowhere", "--example"),
        ("package", "MODULE", "--to", "/nowhere", "--example", "ROWS", "--reference"),
        ("package", "MODULE", "--to", "/nowhere", "--example", "ROWS", "--profile"),
        ("package", "MODULE", "--to", "/nowhere", "--example", "ROWS", "--loop"),
        ("sign", "ARTIFACT", "--key"),
        ("sign", "ARTIFACT", "--key", "ROWS", "--password-file"),
    ],
    ids=" ".join,
)
def test_every_file_that_cannot_be_read_is_named_with_the_reason(
    crossfade: Command, sources: Path, artifact: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    places = {"ROWS": sources / "rows.npy", "MODULE": f"{sources / 'model.py'}:make", "ARTIFACT": artifact}
    said = [str(places.get(word, word)) for word in arguments]
    absent, folder = tmp_path / "none.npy", tmp_path / "folder.npy"
    folder.mkdir()
    for file, why in ((absent, "No such file or directory"), (folder, "Is a directory")):
        told = crossfade(*said, str(file), code=1).stderr
        assert told.partition(";")[0].rstrip("\n") == f"error: {file} cannot be read: {why}"


def test_nothing_answers(crossfade: Command, artifact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    for option, arguments in (
        ("registry", ("models",)),
        ("registry", ("publish", "m", str(artifact))),
        ("router", ("route", "m")),
    ):
        result = crossfade(*arguments, f"--{option}", address, code=3)
        assert result.stderr == (
            f"error: nothing answers at {address}. Is `crossfade up` running? "
            f"(--{option} or CROSSFADE_{option.upper()} set another address)"
            f"{'. Nothing was changed' if arguments[0] == 'publish' else ''}\n"
        )


def test_with_json_what_is_refused_says_why_to_programs(crossfade: Command, running: str) -> None:
    known = crossfade("explain", running, "--rollout", "9", "--json", code=1)
    said = json.loads(known.stderr)["error"]
    assert (said["code"], said["reason"], said["metadata"]["model"]) == ("NOT_FOUND", "ROLLOUT_NOT_FOUND", running)
    refused = crossfade("start", running, "v9", "--json", "--request-id", ID, code=1)
    said = json.loads(refused.stderr)["error"]
    assert (said["code"], said["reason"]) == ("NOT_FOUND", "VERSION_NOT_FOUND")
    assert said["request_id"].startswith(f"{ID}:")
    assert f"error: {said['message']}\n" == crossfade("start", running, "v9", code=1).stderr
