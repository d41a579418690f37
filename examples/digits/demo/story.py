"""The chapters: what is published, and what a sound judge makes of it."""

from dataclasses import dataclass
from typing import Final

from examples.digits.train import VersionName


@dataclass(frozen=True, slots=True)
class Chapter:
    """One version of the story.

    Attributes:
        version: its id.
        about: what it is, for the reader.
        outcome: `PROMOTED` or `ROLLED_BACK`: what the report compares with; nothing else reads it.
        gate: the gate that rolls it back; empty: none.
        drift: the inputs drift while it is tested.
    """

    version: VersionName
    about: str
    outcome: str
    gate: str = ""
    drift: bool = False


FIRST: Final = Chapter("v1", "the first version: stable at once", "STABLE")

CHAPTERS: Final = (
    Chapter("v2", "trained longer, on more images", "PROMOTED"),
    Chapter("v3", "trained on wrong labels", "ROLLED_BACK", gate="accuracy"),
    Chapter("v4", "right answers, twelve times the compute", "ROLLED_BACK", gate="runtime"),
    Chapter("v5", "NaN for faint images", "ROLLED_BACK", gate="errors"),
    Chapter("v6", "a good one, while the camera is knocked", "PROMOTED", drift=True),
)
