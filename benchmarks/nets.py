"""The networks that benchmarks serve; imported by rivals too, so it takes torch alone."""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

SHAPES: Final = {"mlp": (256,), "conv": (1, 28, 28), "deep": (256,), "wide": (256,), "patches": (64, 48)}
"""Shape of one row of input."""
CLASSES: Final = 10


def make(name: str) -> nn.Module:
    """An untrained network, the same at every call: scores of ten classes for each row.

    Args:
        name: `mlp` (256-512-512-10); `conv`: two convolutions and a linear layer; `deep`: six layers of 1,024, which
            take a processor some milliseconds a row; `wide`: six of 2,048, four times as many; or `patches`: a
            transformer over 64 patches of an image.
    """
    torch.manual_seed(0)
    if name == "patches":
        return nn.Sequential(
            nn.Linear(48, 512), *(_Block(512, 8) for _ in range(6)), _Mean(), nn.Linear(512, CLASSES)
        ).eval()
    if name == "mlp":
        layers = [nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES)]
        return nn.Sequential(*layers).eval()
    if name in ("deep", "wide"):
        width = 1024 if name == "deep" else 2048
        inner = [layer for _ in range(5) for layer in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(nn.Linear(256, width), nn.ReLU(), *inner, nn.Linear(width, CLASSES)).eval()
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


class _Block(nn.Module):
    """Attention and two layers, each on what was normalized before, added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.split, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, patches, width] to the same."""
        asked, keys, values = (
            one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.split(self.before(x)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(asked, keys, values)
        x = x + self.joined(seen.transpose(1, 2).flatten(2))
        added: Tensor = x + self.layers(self.between(x))
        return added


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)
