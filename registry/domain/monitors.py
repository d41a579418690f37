"""Lanes that are watched without a rollout: how, by what evidence, and what stands out."""

from dataclasses import dataclass, field, replace
from typing import Final

from registry.domain.ledger import EventDraft
from services.common.errors import AbortedError

DEFAULT_LEARN: Final = 86_400.0
SETTINGS: Final = ("off", "undo", "learn")
RAISED: Final = "ALERT_RAISED"
ENDED: Final = "ALERT_ENDED"


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a lane is watched.

    Attributes:
        off: it is not.
        undo: an alert makes the version before stable again, once.
        learn: seconds for which the stable version's past is learnt.
    """

    off: bool = False
    undo: bool = False
    learn: float = DEFAULT_LEARN

    def updated(self, settings: "MonitorSettings", wanted: frozenset[str]) -> "MonitorSettings":
        """These settings with those of the wanted names from others."""
        return replace(self, **{name: getattr(settings, name) for name in SETTINGS if name in wanted})


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that stands out: by which gate, why in one sentence, and since when (seconds since 1970)."""

    gate: str
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class Monitor:
    """A lane that is watched.

    Attributes:
        version: the one that was watched at the latest look; empty: there was no look.
        sequence: the latest look's number.
        recorded: when it was; None: there was none.
        summary: a serialized crossfade.common.v1.Summary, kept and not read; empty: none.
        alerts: what stands out now, oldest first.
        evidence: what the Evaluator goes on from, kept and not read.
        cursor: a serialized crossfade.common.v1.Counts, kept and not read.
    """

    model: str
    segment: str
    settings: MonitorSettings = field(default_factory=MonitorSettings)
    version: str = ""
    sequence: int = 0
    recorded: float | None = None
    summary: bytes = b""
    alerts: tuple[Alert, ...] = ()
    evidence: bytes = b""
    cursor: bytes = b""


@dataclass(frozen=True, slots=True)
class MonitorLook:
    """One look at a lane; fields as in Monitor. The times of its alerts are not read."""

    version: str
    sequence: int
    summary: bytes
    alerts: tuple[Alert, ...]
    evidence: bytes
    cursor: bytes


def after_look(before: Monitor, look: MonitorLook, now: float) -> tuple[Monitor, tuple[EventDraft, ...]]:
    """The monitor after a look, and what is to be told of: alerts that are new, and those that are gone."""
    # Another version's alerts are over, whatever the new one does.
    known = {alert.gate: alert.since for alert in before.alerts} if look.version == before.version else {}
    alerts = tuple(replace(alert, since=known.get(alert.gate, now)) for alert in look.alerts)
    staying = known.keys() & {alert.gate for alert in alerts}
    events = [_ended(before, alert, look.version) for alert in before.alerts if alert.gate not in staying]
    events += [
        EventDraft(RAISED, before.segment, look.version, reason=alert.reason)
        for alert in alerts
        if alert.gate not in staying
    ]
    after = replace(
        before,
        version=look.version,
        sequence=look.sequence,
        recorded=now,
        summary=look.summary,
        alerts=tuple(sorted(alerts, key=lambda alert: (alert.since, alert.gate))),
        evidence=look.evidence,
        cursor=look.cursor,
    )
    return after, tuple(events)


def changed(before: Monitor, settings: MonitorSettings, reason: str) -> tuple[Monitor, tuple[EventDraft, ...]]:
    """The monitor with other settings; one that is off has no alerts, and forgets what it knew."""
    if settings == before.settings:
        return before, ()
    events = [EventDraft("MONITOR_CHANGED", before.segment, before.version, reason=reason or _words(settings))]
    after = replace(before, settings=settings)
    if settings.off:
        events += [_told_end(before, alert, "It is not watched any more") for alert in before.alerts]
        after = _forgetful(after)
    return after, tuple(events)


def dropped(before: Monitor) -> tuple[Monitor, tuple[EventDraft, ...]]:
    """The monitor of a lane that is taken away: one that comes back is watched as any new one is."""
    events = [_told_end(before, alert, "Its lane was taken away") for alert in before.alerts]
    if before.settings != MonitorSettings():
        reason = "Its lane was taken away; one that comes back is watched as any new one is."
        events.append(EventDraft("MONITOR_CHANGED", before.segment, before.version, reason=reason))
    return _forgetful(replace(before, settings=MonitorSettings())), tuple(events)


def _forgetful(monitor: Monitor) -> Monitor:
    # A look that is under way goes on from what is forgotten here, so its number is taken.
    number = monitor.sequence + 1 if monitor.sequence else 0
    return replace(monitor, sequence=number, version="", summary=b"", alerts=(), evidence=b"", cursor=b"")


def disarmed(before: Monitor) -> tuple[Monitor, tuple[EventDraft, ...]]:
    """The monitor after its lane was undone: it undoes nothing until somebody asks for it again."""
    settings = replace(before.settings, undo=False)
    reason = "The lane was undone; no alert undoes it again until that is asked for anew."
    return replace(before, settings=settings), (
        EventDraft("MONITOR_CHANGED", before.segment, before.version, reason=reason),
    )


def check_armed(monitor: Monitor, look: int) -> None:
    """Refuses an undo that rests on a look, if that is not the latest or nobody wants it any more.

    Raises:
        AbortedError: MONITOR_DISARMED, SEQUENCE_STALE.
    """
    if monitor.settings.off or not monitor.settings.undo:
        raise AbortedError(
            "MONITOR_DISARMED", "the lane's monitor is not to undo anything: somebody has said so, or it has done it"
        )
    if monitor.sequence != look:
        raise AbortedError(
            "SEQUENCE_STALE",
            f"look {look} at the lane is not the latest, which is {monitor.sequence}; decide again by that one",
        )


def _ended(before: Monitor, alert: Alert, version: str) -> EventDraft:
    why = "It has ended" if version == before.version else f"{version} is stable now"
    return _told_end(before, alert, why)


def _told_end(before: Monitor, alert: Alert, why: str) -> EventDraft:
    return EventDraft(ENDED, before.segment, before.version, reason=f"{why}: {alert.reason}")


def _words(settings: MonitorSettings) -> str:
    if settings.off:
        return "The lane is not watched any more."
    undoes = "an alert undoes it once" if settings.undo else "alerts are told"
    return f"The lane is watched, and {undoes}; a version's past is learnt for {settings.learn:.10g} s."
