"""What is written where the encoding lacks characters."""

import io
import sys

import pytest

from crossfade.cli.ending import say_note
from crossfade.cli.narrow import tolerate


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("ascii", "churn | 5 % ##.. -0.5 - +-2, >= 3 ms ~ 40 us 2 x 3 Gr??e"),
        ("latin-1", "churn · 5 % ##.. -0.5 - ±2, >= 3 ms ~ 40 µs 2 × 3 Größe"),
        ("utf-8", "churn · 5 % ██░░ −0.5 – ±2, ≥ 3 ms … 40 µs 2 × 3 Größe"),
    ],
)
def test_characters_that_are_lacking_are_written_as_something_like_them(encoding: str, said: str) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    tolerate(stream, object())
    stream.write("churn · 5 % ██░░ −0.5 – ±2, ≥ 3 ms … 40 µs 2 × 3 Größe")
    stream.flush()
    assert written.getvalue().decode(encoding) == said


def test_what_is_no_stream_of_text_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    tolerate(sys.stdout)


def test_notes_are_written_in_the_streams_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    tolerate(stream)
    monkeypatch.setattr(sys, "stderr", stream)
    say_note("N − 100 …", as_json=False)
    stream.flush()
    assert written.getvalue() == b"N - 100 ~\n"
