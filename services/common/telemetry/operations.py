"""What processes count of themselves for those who run them; no gate reads it. Beside `catalog`, and as there."""

from typing import Final

from services.common.telemetry.bounds import CALL_BOUNDS
from services.common.telemetry.catalog import Kind, Metric

_ARM: Final = ("model", "version", "traffic")

CONTACT_AGE: Final = Metric(
    "crossfade.registry.contact.age",
    Kind.GAUGE,
    "s",
    "Time since the process last heard the Registry.",
    (),
)

VERSION_READY: Final = Metric(
    "crossfade.worker.version.ready",
    Kind.GAUGE,
    "1",
    "1 when a version that is wanted is ready for that traffic, and 0 until then.",
    _ARM,
)
CRASH_COUNT: Final = Metric(
    "crossfade.worker.crash.count",
    Kind.COUNTER,
    "1",
    "Processes of a version that ended without having been asked to.",
    _ARM,
)
LOAD_FAILURE_COUNT: Final = Metric(
    "crossfade.worker.load.failure.count",
    Kind.COUNTER,
    "1",
    "How often a version was given up: it could not be loaded, or crashed too often.",
    _ARM,
)

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

UNDELIVERED: Final = Metric(
    "crossfade.registry.webhook.undelivered",
    Kind.GAUGE,
    "1",
    "Events that a webhook has yet to be told of, counted each 15 s, up to 1,000.",
    ("webhook",),
)

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

CERTIFICATE_EXPIRY: Final = Metric(
    "crossfade.certificate.expiry",
    Kind.GAUGE,
    "s",
    "When the process's own certificate ends, in seconds since 1970-01-01 UTC: what it shows to callers (serving), and "
    "to those that it calls (calling).",
    ("use",),
)
