"""Modules of many kinds, as a GPU or a compiler meets them."""

from typing import Any

import numpy as np
import torch
from torch import nn


class Attention(nn.Module):
    """Words to scores, as a transformer does: makes positions and a mask itself, and holds a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(100, 32), nn.Embedding(16, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """[rows, 16] to [rows, 3]."""
        hidden = self.words(words) + self.places(torch.arange(words.shape[1]))
        later = torch.full((16, 16), -torch.inf).triu(1)
        last = self.layer(hidden, src_mask=later)[:, -1]
        scores: torch.Tensor = self.head(last) * torch.tensor([1.0, 2.0, 0.5])
        return scores


class Recurrent(nn.Module):
    """A convolution over time and an LSTM; gives two outputs, one of them in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(2, 8, 3, padding=1), nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, series: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, 2, 12] and [rows, 1] to [rows, 3] and [rows, 16]."""
        _, (hidden, _) = self.lstm(torch.relu(self.conv(series)).transpose(1, 2))
        return self.head(hidden[0]) * scale, hidden[0].to(torch.bfloat16)


class Mixing(nn.Module):
    """Two inputs and two outputs, the second in bfloat16; attention over the steps of a series."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.layer = nn.Linear(2, 16), nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, series: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, 2, 12] and [rows, 1] to [rows, 3] and [rows, 16]."""
        hidden = self.layer(self.wide(series.transpose(1, 2))).mean(dim=1)
        return self.head(hidden) * scale, hidden.to(torch.bfloat16)


class Images(nn.Module):
    """Convolutions over images of 40 KiB each."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[rows, 3, 58, 58] to [rows, 4]."""
        scores: torch.Tensor = self.layers(images).mean(dim=(2, 3))
        return scores


class Sparse(nn.Module):
    """Works on those values alone that are above 0: how many these are, no graph can know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 32] to [rows, 32]."""
        above = x > 0
        y = x.clone()
        y[above] = x[above] + torch.ones(1)
        return y


class Wide(nn.Module):
    """Takes 256 MiB a row while it runs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 32] to [rows]."""
        wide = x[:, :1, None] + torch.zeros(1, 8192, 8192)
        return wide.amax(dim=(1, 2)) + x.sum(dim=1)


def drawn(name: str, count: int, seed: int = 0) -> tuple[Any, ...]:
    """Rows for one of those modules, one array per input."""
    draw = np.random.default_rng(seed)
    if name == "attention":
        return (draw.integers(0, 100, (count, 16)),)
    if name in ("recurrent", "mixing"):
        series, scale = draw.standard_normal((count, 2, 12)), draw.random((count, 1))
        return series.astype(np.float32), scale.astype(np.float32)
    return (draw.standard_normal((count, 3, 58, 58)).astype(np.float32),)
