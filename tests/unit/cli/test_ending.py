"""How a command ends: exit codes, and what is said on stderr, in words and as JSON."""

import errno
import json
import os
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import typer
from typer.testing import CliRunner, Result

from crossfade.cli.app import build
from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.ending import run
from crossfade.cli.errors import CommandError, ExitCode, Facts, UsageError

NOWHERE = ("--registry", "localhost:1")
ID = "0f5a6d1e-0000-4000-8000-000000000003"
HINT = "Is `crossfade up` running? (--registry or CROSSFADE_REGISTRY set another address)"


def crossfade(*arguments: str) -> Result:
    return CliRunner().invoke(build(), arguments)


def error_of(result: Result) -> dict[str, Any]:
    """The one object that stderr is, of a command that said nothing else."""
    (line,) = result.stderr.splitlines()
    said = json.loads(line)
    assert result.stdout == ""
    assert list(said) == ["error"]
    assert said["error"]["exit_code"] == result.exit_code
    found: dict[str, Any] = said["error"]
    return found


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def action() -> NoReturn:
        raise error

    return action


def encoding(text: str) -> Callable[[], None]:
    def action() -> None:
        text.encode()

    return action


def test_nothing_answers() -> None:
    assert error_of(crossfade("models", "--json", *NOWHERE)) == {
        "exit_code": 3,
        "message": f"nothing answers at localhost:1. {HINT}",
        "hint": HINT,
        "code": "UNAVAILABLE",
        "reason": "",
        "metadata": {},
        "field": "",
        "request_id": "",
    }
    assert error_of(crossfade("--json", *NOWHERE, "models"))["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--json", "statsu"), "No such command 'statsu'. Did you mean 'status'"),
        (("status", "--bogus", "--json"), "No such option: --bogus"),
        (("promote", "--json"), "Missing argument 'MODEL'."),
        (("status", "--json", "--interval", "soon"), "--interval: "),
        (("certs", "dev", "--json"), "Missing option '--to'."),
        (("--json", "up", "--set", "X=1"), "Invalid value for --set: 'X=1' is no setting: write CROSSFADE_…=VALUE"),
        (("up", "--json", "--port", "1"), "Invalid value for '--port': "),
        (
            ("promote", "churn", "v4", "--json"),
            "Got unexpected extra argument(s) (v4): crossfade promote takes MODEL; the live rollout's version is meant",
        ),
        (
            ("describe", "churn", "a", "b", "--json"),
            "Got unexpected extra argument(s) (b): crossfade describe takes MODEL TEXT",
        ),
        (("--json", "registry", "migrat"), "No such command 'migrat'. Did you mean 'migrate'?"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    said = error_of(crossfade(*arguments))
    assert said["message"].startswith(message)
    assert said["exit_code"] == 2


def test_without_json_it_is_said_in_words() -> None:
    assert crossfade("models", *NOWHERE).stderr == f"error: nothing answers at localhost:1. {HINT}\n"
    for arguments in (("status", "--bogus"), ("up", "--set", "X=1"), ("status", "--", "--json", "more")):
        result = crossfade(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Usage: crossfade {arguments[0]} ")


def test_a_command_of_the_services_fails_as_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSFADE_DATABASE", raising=False)
    said = error_of(crossfade("--json", "registry", "migrate"))
    assert (said["exit_code"], said["message"].startswith("CROSSFADE_DATABASE is not set")) == (1, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError("no", ExitCode.NOTHING_ANSWERS), 3),
        (UsageError("no"), 2),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("no"), 1),
    ],
)
def test_the_exit_code_is_the_same_in_words_and_as_json(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for as_json in (False, True):
        with pytest.raises(typer.Exit) as ended:
            run(raising(error), as_json=as_json)
        assert ended.value.exit_code == code
        said = capsys.readouterr().err
        if isinstance(error, KeyboardInterrupt):
            assert said == ""
        elif as_json:
            assert json.loads(said)["error"]["exit_code"] == code


def test_a_failure_in_other_words_keeps_its_facts() -> None:
    facts = Facts("ABORTED", "ETAG_STALE", {"model": "m"}, "etag", ID)
    other = CommandError("stale", ExitCode.FAILED, facts).saying("v3 was promoted meanwhile")
    assert (other.message, other.reason, other.facts) == ("v3 was promoted meanwhile", "ETAG_STALE", facts)


def test_a_note_is_json_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    Session(Options(json=True)).note("trying again")
    Session(Options()).note("trying again")
    assert capsys.readouterr().err == '{"note": "trying again"}\ntrying again\n'


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "Permission denied; choose a place where you may read and write, or have its rights changed"),
        (errno.EROFS, "Read-only file system; choose a place that can be written"),
        (errno.EISDIR, "Is a directory; name a file and no folder"),
        (errno.ENOENT, "No such file or directory; see how the path is written, and that its folder is there"),
    ],
)
def test_what_the_operating_system_refuses_of_a_file_is_no_fault_of_the_command(
    capsys: pytest.CaptureFixture[str], number: int, said: str
) -> None:
    with pytest.raises(typer.Exit) as caught:
        run(raising(OSError(number, os.strerror(number), "/data/x")), as_json=False)
    assert caught.value.exit_code == ExitCode.FAILED
    assert capsys.readouterr().err == f"error: /data/x cannot be used: {said}\n"


def test_what_no_file_was_named_for_is_a_fault_still(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit):
        run(raising(OSError(errno.EACCES, "Permission denied")), as_json=False)
    assert "This is a fault of crossfade itself" in capsys.readouterr().err


def test_an_argument_that_is_no_text_here_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        run(encoding("Gr\udcc3"), as_json=False)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "LC_ALL=C.UTF-8" in capsys.readouterr().err
