"""Long lines on a terminal, and in a pipe."""

import io
import sys

import pytest
from rich.text import Text

from crossfade.cli.common import Options
from crossfade.cli.context import Session
from crossfade.cli.hanging import hung

SENTENCE = "  v3 had an F1 of 82.5 % on 487 labelled answers, v1 91.8 % on 9,602 of the same minutes."
EVENT = "2026-11-28  v2  rollout 1  rollout started  root  v2 waits until a Worker has loaded and verified it."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_sentence_goes_on_further_in() -> None:
    assert hung(Text(SENTENCE), 40).plain.splitlines() == [
        "  v3 had an F1 of 82.5 % on 487 labelled",
        "      answers, v1 91.8 % on 9,602 of the",
        "      same minutes.",
    ]


def test_a_tables_line_goes_on_below_its_last_cell_where_there_is_room() -> None:
    assert hung(Text(EVENT), 100).plain.splitlines() == [
        "2026-11-28  v2  rollout 1  rollout started  root  v2 waits until a Worker has loaded and verified",
        " " * 50 + "it.",
    ]
    assert hung(Text(EVENT), 60).plain.splitlines() == [
        "2026-11-28  v2  rollout 1  rollout started  root  v2 waits",
        "    until a Worker has loaded and verified it.",
    ]


def test_lines_that_fit_colours_and_blank_lines_stay() -> None:
    styled = Text("short\n\n") + Text("a long word in red", "red")
    broken = hung(styled, 10)
    assert broken.plain == "short\n\na long\n    word\n    in red"
    assert [span.style for span in broken.spans] == ["red", "red", "red"]


@pytest.mark.parametrize("line", ["Next: crossfade start churn v4 --plan 5%:2h,25%:4h", "x" * 60])
def test_a_command_and_a_word_are_left_whole(line: str) -> None:
    assert hung(Text(line), 20).plain == line


@pytest.mark.parametrize(("stream", "lines"), [(Terminal(), 3), (io.StringIO(), 1)])
def test_a_pipe_gets_lines_whole(stream: io.StringIO, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    Session(Options()).show({}, lambda: SENTENCE, prose=True)
    assert stream.getvalue().count("\n") == lines


def test_spaces_at_a_lines_end_make_no_empty_line() -> None:
    assert hung(Text("one two three    \nfour"), 13).plain == "one two three\nfour"
