"""Durations, shares, rates and moments, as people write them."""

import datetime as dt
import time

import pytest

from crossfade.cli.errors import UsageError
from crossfade.cli.options.rollout import rollout_spec, wait_seconds
from crossfade.cli.when import parse_when
from crossfade.policy_file import PolicyFileError, parse_policy
from crossfade.quantities import format_duration, parse_duration, parse_rate, parse_share, to_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("2 d", 172_800),
        ("0", 0),
        ("0.0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "5x", "-5s", "1e9d", "nan", "inf", "1:30", "5s3", "400d"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration|is out of range"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["30", "1.5", " 7 "])
def test_a_duration_has_a_unit(text: str) -> None:
    with pytest.raises(ValueError, match=rf"has no unit: write {text.strip()}s for seconds, {text.strip()}m for"):
        parse_duration(text)


def test_a_duration_without_a_unit_is_refused_in_a_file_and_in_an_option() -> None:
    with pytest.raises(PolicyFileError, match=r"p\.yaml:1: plan\[0\]\.period: '30' has no unit: write 30s"):
        parse_policy("plan: [{share: 5%, period: 30}]\n", "p.yaml")
    with pytest.raises(UsageError, match=r"^--plan: '30' has no unit"):
        rollout_spec("5%,25%:30", "", "", "", "")
    for share in ("", "5%"):
        with pytest.raises(UsageError, match=r"^--period: '30' has no unit"):
            rollout_spec("", share, "30", "", "")
    with pytest.raises(UsageError, match="--timeout: '5' has no unit"):
        wait_seconds("5", wait=True)


@pytest.mark.parametrize("value", ["14", "2", "30", " 7 "])
def test_a_number_alone_is_no_moment(value: str) -> None:
    now = dt.datetime(2026, 11, 24, 15, tzinfo=dt.UTC)
    with pytest.raises(UsageError, match=r"--since: .* is no moment: write 2026-11-24 14:00, 14:00 \(today\) or 2h"):
        parse_when(value, "--since", now)
    assert parse_when("20261123", "--since", now).date() == dt.date(2026, 11, 23)
    assert parse_when("2h", "--since", now).hour == 13


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        ("0001-01-01T00:00:00+14:00", "UTC"),
        ("9999-12-31T23:59:59-14:00", "UTC"),
        ("0001-01-01T00:00:00Z", "America/New_York"),
        ("9999-12-31T23:59:59Z", "Pacific/Kiritimati"),
    ],
)
def test_a_moment_that_not_all_zones_have_is_none(value: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with pytest.raises(UsageError, match="is no moment"):
            parse_when(value, "--until", dt.datetime(2026, 11, 24, 15, tzinfo=dt.UTC))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_duration_keeps_its_fraction() -> None:
    assert (to_duration(1.5).seconds, to_duration(1.5).nanos) == (1, 500_000_000)


@pytest.mark.parametrize(("text", "points"), [("5%", 500), ("2.5 %", 250), ("0.01%", 1), ("100%", 10_000)])
def test_shares(text: str, points: int) -> None:
    assert parse_share(text) == points


@pytest.mark.parametrize("text", ["", "%", "0%", "0", "101%", "10001", "-5%", "0.001%", "1e-9%", "1.5", "five", "1e2"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no share|has no %|is out of range|is too fine"):
        parse_share(text)


def test_a_share_alone_is_neither_per_cent_nor_basis_points() -> None:
    for text in ("5", "50", "500"):
        with pytest.raises(UsageError, match=rf"^--share: '{text}' has no %: write 5%, or 0.05% for 5 basis points"):
            rollout_spec("", text, "", "", "")
    (step,) = parse_policy("plan: [{share_bps: 500}]\n", "p.yaml").plan.steps
    assert step.share_bps == 500
    for text in ("0", "10001", "-5", "1.5"):
        with pytest.raises(PolicyFileError, match="is no number of basis points: write 500 for 5 %, 10000 at most"):
            parse_policy(f"plan: [{{share_bps: {text}}}]\n", "p.yaml")


def test_rates() -> None:
    assert [parse_rate("0.01"), parse_rate("1%"), parse_rate("1e-3")] == pytest.approx([0.01, 0.01, 0.001])
    with pytest.raises(ValueError, match="is no number"):
        parse_rate("1,5")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0015, "0.002s"),
        (0.5, "0.5s"),
        (90, "1m30s"),
        (5400, "1h30m"),
        (2_678_400, "31d"),
        (90_061.5, "1d1h1m1.5s"),
    ],
)
def test_durations_are_written_as_they_are_read(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds, abs=6e-4)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "-1s"), (-5400, "-1h30m"), (-86_401.5, "-1d1.5s"), (1e-6, "1e-06s")]
)
def test_what_is_no_duration_is_written_for_errors_too(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
