"""Versions without end: good ones, ones that are wrong, and ones that fail, each with weights of its own."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crossfade.artifact import Artifact, package

CLASSES: Final = ("no", "yes")
FEATURES: Final = 8
_GOLDEN_ROWS: Final = 8


class Kind(StrEnum):
    """What a version is like, by the outcome that it is to have."""

    GOOD = "good"
    WRONG = "wrong"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Turn:
    """One rollout of the run.

    Attributes:
        number: from 2 on; the first version needs no rollout.
        kind: what the version is like.
        segment: the lane; empty: the default one.
    """

    number: int
    kind: Kind
    segment: str = ""

    @property
    def version(self) -> str:
        """The version's id."""
        return f"v{self.number}"


def turn(number: int) -> Turn:
    """Two of five versions are bad, and every fifth good one is for a segment's lane that ends with its rollout."""
    kinds = (Kind.GOOD, Kind.WRONG, Kind.GOOD, Kind.FAILING, Kind.GOOD)
    place = (number - 2) % len(kinds)
    segment = f"s{number}" if place == len(kinds) - 1 else ""
    return Turn(number, kinds[place], segment)


class Sign(nn.Module):
    """Says whether the features' sum is positive; NaN for rows whose first feature is beyond `limit`."""

    def __init__(self, scale: float, limit: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.limit = limit

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores [rows, 2]."""
        total = rows.sum(dim=1, keepdim=True) * self.scale
        broken = torch.where(rows[:, :1] > self.limit, float("nan"), 0.0)
        return torch.cat((-total, total), dim=1) + broken


def rows(count: int, seed: int = 0) -> npt.NDArray[Any]:
    """Standard normal rows, [count, features] of float32."""
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)


def label(row: npt.NDArray[Any]) -> str:
    """The true class of a row; of one in ten it is the other one, so that nobody is right on all."""
    right = row.sum() > 0
    return CLASSES[int(right != (row[1] > 1.2816))]


def packaged(one: Turn, folder: Path) -> Artifact:
    """The version's artifact, in a folder of its own."""
    scale = 1.0 + one.number / 1_000
    limit = 0.4 if one.kind is Kind.FAILING else float("inf")
    return package(
        Sign(-scale if one.kind is Kind.WRONG else scale, limit),
        example=rows(64),
        reference=rows(2_000),
        classes=list(CLASSES),
        golden=-np.abs(rows(_GOLDEN_ROWS)),
        to=folder / one.version,
    )
