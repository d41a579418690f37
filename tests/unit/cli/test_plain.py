"""What was written by others gives the terminal no commands."""

import io
import json
import re
from typing import Any

import pytest
from rich.live import Live
from rich.text import Text

from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.ending import run, say_note
from crossfade.cli.errors import CommandError
from crossfade.cli.plain import plain
from crossfade.cli.render.tables import models_table
from crossfade.cli.screen import PlainConsole
from crossfade.registry.v1.resources_pb2 import Model

EVIL = "ok\x1b]0;title\x07\x1b[2K\x1b[1A\x1b]52;c;Y3VybA==\x07\x9b31mred\x7f\r\x00"
_OURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What rich itself writes: styles, and Live's cursor."""


def raw(written: str) -> list[str]:
    """Control characters that are no style of ours."""
    return [one for one in _OURS.sub("", written) if plain(one) != one]


def terminal() -> tuple[PlainConsole, io.StringIO]:
    out = io.StringIO()
    return PlainConsole(file=out, force_terminal=True, color_system="standard", width=120), out


def test_each_control_character_but_line_feed_and_tab_is_replaced_one_for_one() -> None:
    every = "".join(map(chr, range(0x100)))
    assert len(plain(every)) == len(every)
    kept = [one for one in plain(every) if one != "\N{REPLACEMENT CHARACTER}"]
    assert kept == ["\t", "\n", *map(chr, range(0x20, 0x7F)), *map(chr, range(0xA0, 0x100))]
    assert plain("Zürich, 東京") == "Zürich, 東京"


def test_what_turns_the_order_of_reading_is_replaced_and_marks_of_right_to_left_scripts_are_not() -> None:
    turning = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    assert plain(turning) == "\N{REPLACEMENT CHARACTER}" * len(turning)
    written = "שלום\u200f, مرحبا\u061c"
    assert plain(written) == written


def test_tables_keep_their_styles_and_have_no_commands() -> None:
    console, out = terminal()
    console.print(models_table([Model(name="models/churn", description=EVIL)]))
    console.print(f"a plain line {EVIL}")
    assert "52;c;Y3VybA==" in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    assert "\x1b[2K" not in out.getvalue()
    assert raw(out.getvalue()) == []
    styled = Text("a\x1bb", "red")
    styled.append("c", "green")
    console, out = terminal()
    console.print(styled)
    assert out.getvalue() == "\x1b[31ma\N{REPLACEMENT CHARACTER}b\x1b[0m\x1b[32mc\x1b[0m\n"


def test_a_picture_that_is_drawn_anew_has_no_commands() -> None:
    console, out = terminal()
    with Live(Text(EVIL), console=console, auto_refresh=False) as live:
        live.update(Text(f"again {EVIL}"), refresh=True)
    assert "\x1b]" not in out.getvalue()
    assert "\x9b" not in out.getvalue()


def test_the_commands_console_is_such_a_one(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(Options())
    session.print(EVIL)
    session.show({}, lambda: Text(EVIL))
    said = capsys.readouterr().out
    assert "title" in said
    assert raw(said) == []
    assert "\x1b" not in said


@pytest.mark.parametrize("as_json", [False, True])
def test_notes_and_errors_neither(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise CommandError(f"the Worker said {EVIL}")

    say_note(EVIL, as_json=as_json)
    with pytest.raises(BaseException, match="1"):
        run(fail, as_json=as_json)
    said = capsys.readouterr().err
    assert "Worker" in said
    assert "\x1b" not in said
    assert raw(said) == []


def test_json_has_the_text_itself_and_no_raw_character_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    payload: dict[str, Any] = {"description": EVIL, "city": "Zürich"}
    Session(Options(json=True)).show(payload, lambda: "")
    said = capsys.readouterr().out
    assert json.loads(said) == payload
    assert said.isascii()
    assert raw(said) == []
