"""`python -m examples.diabetes --seed 0 --to DIR`: train three versions of a tabular regression and package them.

scikit-learn's bundled patients: 442 of them, ten measurements each, and how far their diabetes had gone a year later
(25 to 346; Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", 2004).

v1  good: trained on half of the patients.
v2  good: trained on all of them.
v3  wrong units: its pipeline took blood pressure for mmHg and got it in kPa.

Publish v1, then v2, and send the right answers by `crossfade feedback`: a regression's gate is its absolute error.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

from crossfade.artifact import Artifact, package
from examples.training import reproducible

Version = Literal["v1", "v2", "v3"]
VERSIONS: Final[tuple[Version, ...]] = get_args(Version)
FEATURES: Final = ("age", "sex", "bmi", "blood_pressure", "tc", "ldl", "hdl", "tch", "ltg", "glucose")

Rows = NDArray[np.float32]

_HELD_OUT: Final = 92
_MMHG_PER_KPA: Final = 7.50062


class Progression(nn.Module):
    """Patients [n, 10] in, how far it goes [n, 1] out; it knows the means and spreads of what it was trained on."""

    mean: Tensor
    spread: Tensor

    def __init__(self, rows: Tensor, targets: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("spread", rows.std(dim=0))
        self.middle = float(targets.mean())
        self.scale = float(targets.std())
        self.layers = nn.Sequential(nn.Linear(len(FEATURES), 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, patients: Tensor) -> Tensor:
        """How far it goes."""
        said: Tensor = self.layers((patients - self.mean) / self.spread)
        return said * self.scale + self.middle


def patients(seed: int) -> tuple[Rows, Rows, Rows, Rows]:
    """Rows and targets for training, then those that are held out."""
    rows, targets = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(seed).permutation(len(rows))
    held, train = order[:_HELD_OUT], order[_HELD_OUT:]
    rows, targets = rows.astype(np.float32), targets.astype(np.float32)[:, None]
    return rows[train], targets[train], rows[held], targets[held]


def train(version: Version, seed: int) -> nn.Module:
    """Trains a version; all that is random follows from the seed."""
    rows, targets, _, _ = patients(seed)
    if version == "v1":
        rows, targets = rows[: len(rows) // 2], targets[: len(rows) // 2]
    if version == "v3":
        rows = rows.copy()
        rows[:, FEATURES.index("blood_pressure")] /= _MMHG_PER_KPA
    features, wanted = torch.from_numpy(rows), torch.from_numpy(targets)
    with reproducible():
        torch.manual_seed(seed)
        model = Progression(features, wanted)
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.5)
        for _ in range(150):
            loss = nn.functional.huber_loss(model(features) / model.scale, wanted / model.scale)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return model.eval()


def package_version(module: nn.Module, seed: int, to: Path) -> Artifact:
    """Writes a version's artifact, in place of one that stands there."""
    rows, _, _, _ = patients(seed)
    return package(
        module, example=rows[:64], reference=rows, feature_names=FEATURES, task="regression", to=to, overwrite=True
    )


def error(module: nn.Module, seed: int) -> float:
    """Mean absolute error on patients that it has not seen."""
    _, _, rows, targets = patients(seed)
    with torch.no_grad():
        return float((module(torch.from_numpy(rows)) - torch.from_numpy(targets)).abs().mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Writes DIR/v1 to DIR/v3, and prints what each is worth."""
    parser = argparse.ArgumentParser(prog="python -m examples.diabetes")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training (default 0)")
    parser.add_argument("--to", type=Path, required=True, help="folder for the artifacts")
    arguments = parser.parse_args(argv)
    print(f"{'version':8} {'error':>8}  artifact")
    for version in VERSIONS:
        module = train(version, arguments.seed)
        artifact = package_version(module, arguments.seed, arguments.to / version)
        print(f"{version:8} {error(module, arguments.seed):8.1f}  {artifact.path} {artifact.digest[:19]}")


if __name__ == "__main__":
    main()
