"""What processes count of themselves for those who run them; no gate reads it. Beside `catalog`, and as there."""

from typing import Final

from services.common.telemetry.catalog import CALL_BOUNDS, Kind, Metric

TRANSACTION_DURATION: Final = Metric(
    "crossfade.registry.transaction.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one transaction with all its attempts, by how it ended: ok, or the reason.",
    ("outcome",),
    CALL_BOUNDS,
)
RETRY_COUNT: Final = Metric(
    "crossfade.registry.retry.count",
    Kind.COUNTER,
    "1",
    "Attempts of transactions that had to be made again.",
    (),
)
WATCHERS: Final = Metric("crossfade.registry.watchers", Kind.GAUGE, "1", "Routes that are being watched.", ())
REVISION: Final = Metric("crossfade.registry.revision", Kind.GAUGE, "1", "The routes' latest known revision.", ())

LOOK_DURATION: Final = Metric(
    "crossfade.look.duration",
    Kind.HISTOGRAM,
    "s",
    "Time of one look at one rollout.",
    ("outcome",),
    CALL_BOUNDS,
)
DECISION_COUNT: Final = Metric(
    "crossfade.decision.count",
    Kind.COUNTER,
    "1",
    "Decisions carried out, by action.",
    ("action",),
)
ROLLOUTS_WATCHED: Final = Metric(
    "crossfade.rollouts.watched",
    Kind.GAUGE,
    "1",
    "Live rollouts that are looked at.",
    (),
)
