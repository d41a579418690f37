"""Monitors: one row per lane."""

import json
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import Row

from registry.database.columns import at, given
from registry.database.session import Session
from registry.database.tables import monitors
from registry.domain.monitors import Alert, Monitor, MonitorSettings

_FIND: Final = select(monitors).where(given(monitors.c.model, monitors.c.segment))
_SAVE: Final = (
    update(monitors)
    .where(given(monitors.c.model, monitors.c.segment, monitors.c.sequence))
    .returning(monitors.c.sequence)
)


class SqlMonitors:
    """The table monitors."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, model: str, segment: str) -> Monitor | None:
        """A lane's monitor; None: nobody has watched it or changed its settings yet."""
        row = self._session.execute(_FIND, at(model=model, segment=segment)).one_or_none()
        return None if row is None else _monitor(row)

    def save(self, monitor: Monitor, before: Monitor | None) -> bool:
        """Writes a monitor; False: another look was recorded since it was read."""
        values = _values(monitor)
        if before is None:
            added = upsert(monitors).values(values).on_conflict_do_nothing().returning(monitors.c.sequence)
            return self._session.execute(added).one_or_none() is not None
        seen = at(model=monitor.model, segment=monitor.segment, sequence=before.sequence)
        return self._session.execute(_SAVE, seen | values).one_or_none() is not None


def _values(monitor: Monitor) -> dict[str, object]:
    alerts = [[alert.gate, alert.reason, alert.since] for alert in monitor.alerts]
    return {
        "model": monitor.model,
        "segment": monitor.segment,
        "off": monitor.settings.off,
        "undo": monitor.settings.undo,
        "learn": monitor.settings.learn,
        "version": monitor.version,
        "sequence": monitor.sequence,
        "recorded": monitor.recorded,
        "summary": monitor.summary,
        "alerts": json.dumps(alerts, ensure_ascii=False).encode(),
        "evidence": monitor.evidence,
        "cursor": monitor.cursor,
    }


def _monitor(row: "Row[tuple[object, ...]]") -> Monitor:
    return Monitor(
        model=row.model,
        segment=row.segment,
        settings=MonitorSettings(row.off, row.undo, row.learn),
        version=row.version,
        sequence=row.sequence,
        recorded=row.recorded,
        summary=bytes(row.summary),
        alerts=tuple(Alert(gate, reason, since) for gate, reason, since in json.loads(bytes(row.alerts))),
        evidence=bytes(row.evidence),
        cursor=bytes(row.cursor),
    )
