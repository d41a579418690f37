"""The networks that benchmarks serve; imported by rivals too, so it takes torch alone."""

from typing import Final

import torch
from torch import nn

SHAPES: Final = {"mlp": (256,), "conv": (1, 28, 28), "deep": (256,)}
"""Shape of one row of input."""
CLASSES: Final = 10


def make(name: str) -> nn.Module:
    """An untrained network, the same at every call: scores of ten classes for each row.

    Args:
        name: `mlp` (256-512-512-10); `conv`: two convolutions and a linear layer; or `deep`: six layers of 1,024, which
            take a processor some milliseconds a row.
    """
    torch.manual_seed(0)
    if name == "mlp":
        layers = [nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES)]
        return nn.Sequential(*layers).eval()
    if name == "deep":
        inner = [layer for _ in range(5) for layer in (nn.Linear(1024, 1024), nn.ReLU())]
        return nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), *inner, nn.Linear(1024, CLASSES)).eval()
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, CLASSES),
    ).eval()
