"""The networks, in plain torch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that torch's own documentation uses


class DigitNet(nn.Module):
    """A small convolutional network: images [n, 64] with pixels 0 to 16 in, logits [n, 10] out.

    Images are divided by the square root of how much brighter they are, on average, than `paper`, so that bold and
    faint writing look alike. `paper` must be darker than any image: an image darker than it has no square root, and
    its logits are NaN.
    """

    def __init__(self, paper: float = -1.0) -> None:
        super().__init__()
        self.paper = paper
        self.edges = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.strokes = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.hidden = nn.Linear(32 * 2 * 2, 64)
        self.scores = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits per digit."""
        contrast = torch.sqrt(images.mean(dim=1, keepdim=True) - self.paper)
        pictures = (images / contrast / 4).reshape(-1, 1, 8, 8)
        edges = F.max_pool2d(torch.relu(self.edges(pictures)), 2)
        strokes = F.max_pool2d(torch.relu(self.strokes(edges)), 2)
        logits: Tensor = self.scores(torch.relu(self.hidden(strokes.flatten(start_dim=1))))
        return logits


class Committee(nn.Module):
    """The mean of its members' logits: as right as they are, and as slow as all of them together."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Logits per digit."""
        return torch.stack([member(images) for member in self.members]).mean(dim=0)
