"""Lanes that are watched without a rollout: what a look changes, and what is told of it."""

from dataclasses import replace

import pytest

from registry.domain.ledger import EventDraft
from registry.domain.monitors import (
    Alert,
    Monitor,
    MonitorLook,
    MonitorSettings,
    after_look,
    changed,
    check_armed,
    disarmed,
    dropped,
)
from services.common.errors import AbortedError

NOW = 1_000.0
ERRORS = Alert("errors", "v1 failed 5 % of 900 attempts lately", 0.0)
INPUTS = Alert("inputs", "the inputs of v1 drifted", 0.0)
ALARMED = Monitor(
    "m", "eu", MonitorSettings(undo=True), "v1", 3, 900.0, b"summary", (replace(ERRORS, since=900.0),), b"e", b"c"
)
"""A monitor that has found that errors stand out."""


def look(*alerts: Alert, version: str = "v1") -> MonitorLook:
    return MonitorLook(version, 4, b"new summary", alerts, b"new evidence", b"new cursor")


def told(events: tuple[EventDraft, ...]) -> list[tuple[str, str, str]]:
    assert {event.segment for event in events} <= {"eu"}
    return [(event.type, event.version, event.reason) for event in events]


def test_nobody_has_to_ask_for_a_lane_to_be_watched_and_nothing_is_undone_unasked() -> None:
    assert MonitorSettings() == MonitorSettings(off=False, undo=False, learn=24 * 3600.0)
    assert Monitor("m", "").sequence == 0


def test_a_look_takes_the_place_of_the_one_before() -> None:
    after, _ = after_look(ALARMED, look(), NOW)
    assert after == Monitor(
        "m", "eu", ALARMED.settings, "v1", 4, NOW, b"new summary", (), b"new evidence", b"new cursor"
    )


def test_an_alert_is_told_once_and_keeps_its_beginning() -> None:
    after, events = after_look(ALARMED, look(INPUTS, ERRORS), NOW)
    assert [(alert.gate, alert.since) for alert in after.alerts] == [("errors", 900.0), ("inputs", NOW)]
    assert told(events) == [("ALERT_RAISED", "v1", INPUTS.reason)]


def test_an_alert_that_is_gone_is_told() -> None:
    _, events = after_look(ALARMED, look(), NOW)
    assert told(events) == [("ALERT_ENDED", "v1", f"It has ended: {ERRORS.reason}")]


def test_alerts_of_the_version_before_are_over() -> None:
    after, events = after_look(ALARMED, look(ERRORS, version="v2"), NOW)
    assert (after.version, [alert.since for alert in after.alerts]) == ("v2", [NOW])
    assert told(events) == [
        ("ALERT_ENDED", "v1", f"v2 is stable now: {ERRORS.reason}"),
        ("ALERT_RAISED", "v2", ERRORS.reason),
    ]


def test_only_the_wanted_settings_are_changed() -> None:
    wanted = MonitorSettings(off=True, undo=True, learn=60.0)
    assert MonitorSettings().updated(wanted, frozenset({"undo"})) == MonitorSettings(undo=True)
    assert MonitorSettings().updated(wanted, frozenset({"off", "learn"})) == MonitorSettings(off=True, learn=60.0)


def test_settings_that_are_the_same_change_nothing() -> None:
    assert changed(ALARMED, ALARMED.settings, "Why.") == (ALARMED, ())


def test_other_settings_are_told_by_what_they_mean_if_nobody_says_why() -> None:
    told_of, learns = MonitorSettings(), MonitorSettings(undo=True, learn=60.0)
    after, events = changed(ALARMED, told_of, "")
    assert after == replace(ALARMED, settings=told_of)
    means = "The lane is watched, and alerts are told; a version's past is learnt for 86400 s."
    assert told(events) == [("MONITOR_CHANGED", "v1", means)]
    _, events = changed(ALARMED, learns, "")
    means = "The lane is watched, and an alert undoes it once; a version's past is learnt for 60 s."
    assert told(events) == [("MONITOR_CHANGED", "v1", means)]
    _, events = changed(ALARMED, told_of, "Ana wants it so.")
    assert told(events) == [("MONITOR_CHANGED", "v1", "Ana wants it so.")]


def test_one_that_is_off_has_no_alerts_and_forgets_what_it_knew() -> None:
    after, events = changed(ALARMED, MonitorSettings(off=True), "")
    # A look that is under way would go on from what is forgotten, so its number is taken.
    assert after == Monitor("m", "eu", MonitorSettings(off=True), sequence=4, recorded=900.0)
    assert told(events) == [
        ("MONITOR_CHANGED", "v1", "The lane is not watched any more."),
        ("ALERT_ENDED", "v1", f"It is not watched any more: {ERRORS.reason}"),
    ]


def test_a_lane_that_comes_back_is_watched_as_any_new_one() -> None:
    after, events = dropped(ALARMED)
    assert after == Monitor("m", "eu", sequence=4, recorded=900.0)
    assert told(events) == [
        ("ALERT_ENDED", "v1", f"Its lane was taken away: {ERRORS.reason}"),
        ("MONITOR_CHANGED", "v1", "Its lane was taken away; one that comes back is watched as any new one is."),
    ]
    assert dropped(Monitor("m", "")) == (Monitor("m", ""), ())


@pytest.mark.parametrize(
    "settings", [MonitorSettings(off=True), MonitorSettings(undo=True), MonitorSettings(learn=60.0)]
)
def test_each_setting_of_a_lane_that_is_taken_away_is_forgotten(settings: MonitorSettings) -> None:
    after, events = dropped(Monitor("m", "eu", settings))
    assert after == Monitor("m", "eu")
    assert [event.type for event in events] == ["MONITOR_CHANGED"]


def test_an_undo_rests_on_the_latest_look_and_on_a_monitor_that_is_to_undo() -> None:
    check_armed(ALARMED, 3)
    for number in (2, 4):
        with pytest.raises(AbortedError) as caught:
            check_armed(ALARMED, number)
        assert caught.value.reason == "SEQUENCE_STALE"
    for settings in (MonitorSettings(), MonitorSettings(off=True, undo=True)):
        with pytest.raises(AbortedError) as caught:
            check_armed(replace(ALARMED, settings=settings), 3)
        assert caught.value.reason == "MONITOR_DISARMED"


def test_a_monitor_that_has_undone_a_lane_undoes_nothing_more() -> None:
    after, (event,) = disarmed(ALARMED)
    assert after == replace(ALARMED, settings=MonitorSettings())
    assert (event.type, event.segment, event.version) == ("MONITOR_CHANGED", ALARMED.segment, ALARMED.version)
    assert event.reason == "The lane was undone; no alert undoes it again until that is asked for anew."
