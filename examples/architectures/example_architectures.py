"""Two architectures: each is built from its config alone, and answers for a row from that row alone."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """A multilayer perceptron: rows [n, widths[0]] in, [n, widths[-1]] out.

    Args:
        widths: of the input, of each hidden layer, and of the output.
        dropout: share of hidden values that training leaves out.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.ReLU(), nn.Dropout(dropout)] if layers else []
            layers.append(nn.Linear(inputs, outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor) -> Tensor:
        """Scores per row."""
        scores: Tensor = self.layers(rows)
        return scores


class Experts(nn.Module):
    """A mixture of experts: rows [n, inputs] in, [n, outputs] out, each of one perceptron that a gate chooses.

    Experts that no row of a batch needs are not run. torch.export cannot trace that: which ones run depends on values.

    Args:
        inputs: width of a row.
        hidden: width of each expert's hidden layer.
        outputs: width of an answer.
        experts: how many there are.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, experts: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.gate = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(Perceptron([inputs, hidden, outputs]) for _ in range(experts))

    def forward(self, rows: Tensor) -> Tensor:
        """Scores per row."""
        chosen = self.gate(rows).argmax(dim=1)
        scores = rows.new_zeros(len(rows), self.outputs)
        for number, expert in enumerate(self.experts):
            own = (chosen == number).nonzero().squeeze(1)
            if len(own):
                scores[own] = expert(rows[own]).to(scores.dtype)
        return torch.log_softmax(scores, dim=1)
