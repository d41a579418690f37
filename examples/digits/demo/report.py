"""demo-report.json: what happened, for programs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from examples.digits.demo.traffic import Tally


@dataclass(frozen=True, slots=True)
class VersionReport:
    """What became of one version.

    Attributes:
        version: its id.
        expected: the outcome that a sound judge reaches.
        outcome: the outcome that was reached.
        reason: why, in one sentence.
        seconds: from publication to outcome.
        test_requests: calls that it answered while it was tested.
        as_expected: outcome, deciding gate and pauses were those expected.
    """

    version: str
    expected: str
    outcome: str
    reason: str
    seconds: float
    test_requests: int
    as_expected: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What happened.

    Attributes:
        seed: of the demo.
        seconds: from the first publication to the last outcome.
        versions: in the order of their publication.
        tally: the calls.
    """

    seed: int
    seconds: float
    versions: tuple[VersionReport, ...]
    tally: Tally

    @property
    def ok(self) -> bool:
        """Every outcome was the expected one and no call failed or was lost."""
        return all(one.as_expected for one in self.versions) and not self.tally.failed and not self.tally.lost

    def write(self, path: Path) -> None:
        """Writes the report."""
        document = {
            "ok": self.ok,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "versions": [asdict(one) for one in self.versions],
            "predict": {
                "sent": self.tally.sent,
                "failed": self.tally.failed,
                "lost": self.tally.lost,
                "failures": self.tally.failures,
            },
        }
        path.write_text(json.dumps(document, indent=2) + "\n")
