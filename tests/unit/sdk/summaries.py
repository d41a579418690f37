"""Summaries of tables."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossfade.profiling import Summary, Wishes, open_table, summarise
from crossfade.profiling.gathering import DEFAULT_BOUNDS, Bounds
from crossfade.profiling.summary import FeatureSummary

NO_WISHES = Wishes()


def of_csv(
    folder: Path,
    text: str,
    wishes: Wishes = NO_WISHES,
    bounds: Bounds = DEFAULT_BOUNDS,
    chunk_cells: int = 1_000,
) -> Summary:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    table = open_table(folder / "t.csv", chunk_cells=chunk_cells)
    return summarise(table, "t.csv", wishes, bounds=bounds)


def of_array(
    folder: Path, array: NDArray[np.generic], wishes: Wishes = NO_WISHES, bounds: Bounds = DEFAULT_BOUNDS
) -> Summary:
    np.save(folder / "t.npy", array)
    return summarise(open_table(folder / "t.npy"), "t.npy", wishes, bounds=bounds)


def column(*cells: object, name: str = "a") -> str:
    return f"{name}\n" + "".join(f"{cell}\n" for cell in cells)


def only(summary: Summary) -> FeatureSummary:
    (feature,) = summary.features
    return feature
