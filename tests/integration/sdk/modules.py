"""Modules that tests package, and rows for them."""

import numpy as np
import torch
from torch import Tensor, nn

ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))


class Casting(nn.Module):
    """Casts inside, as many models do."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Embedding(5, 4)
        self.scores = nn.Linear(8, 2)

    def forward(self, amounts: Tensor, code: Tensor) -> dict[str, Tensor]:
        amounts.mul_(2.0)
        logits = self.scores(torch.cat((amounts.to(torch.float32), self.codes(code)), dim=1))
        return {"logits": logits, "chosen": logits.argmax(dim=1)}
