"""Small torch models, packaged as artifacts, and requests for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crossfade.artifact import Artifact, package
from crossfade.predict.v1 import predict_pb2

WIDTH = 4
CLASSES = ("low", "middle", "high")

Rows = npt.NDArray[np.float32]


class Scores(nn.Module):
    """Scores of three classes: x @ w, with w known; NaN for rows whose first value is above `nan_above`."""

    def __init__(self, scale: float = 1.0, nan_above: float = 1e9, repeat: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(WIDTH * 3, dtype=torch.float32).reshape(WIDTH, 3) * scale)
        self.nan_above = nan_above
        self.repeat = repeat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 3]."""
        y = x @ self.weight
        for _ in range(self.repeat):
            y = y + (torch.sin(x) @ self.weight) * 0.0
        return torch.where(x[:, :1] > self.nan_above, torch.full_like(y, float("nan")), y)


@dataclass(frozen=True)
class Packaged:
    """An artifact and its address."""

    artifact: Artifact

    @property
    def uri(self) -> str:
        """file://…"""
        return self.artifact.path.absolute().as_uri()


def package_scores(folder: Path, scale: float = 1.0, nan_above: float = 1e9, **options: Any) -> Packaged:
    """Packages `Scores` with a reference profile."""
    rows = reference_rows()
    options = {"reference": rows, "task": "classification", "classes": CLASSES, "max_batch": 64, **options}
    return Packaged(package(Scores(scale, nan_above), example=rows[:16], to=folder, **options))


def reference_rows(count: int = 200, seed: int = 7) -> Rows:
    """Rows of uniform noise between 0 and 1."""
    return np.random.default_rng(seed).random((count, WIDTH), dtype=np.float32)


def expected_scores(rows: Rows, scale: float = 1.0) -> Rows:
    """What `Scores` gives."""
    weight = np.arange(WIDTH * 3, dtype=np.float32).reshape(WIDTH, 3) * scale
    return np.asarray(rows @ weight, dtype=np.float32)


def request_of(model: str, rows: Rows, request_id: str = "", outputs: Sequence[str] = ()) -> bytes:
    """A request with raw contents."""
    request = predict_pb2.PredictRequest(model_name=model, id=request_id, raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="input", datatype="FP32", shape=rows.shape)
    for name in outputs:
        request.outputs.add(name=name)
    return request.SerializeToString()


def scores_of(response: predict_pb2.PredictResponse) -> Rows:
    """The first output."""
    shape = tuple(response.outputs[0].shape)
    return np.frombuffer(response.raw_output_contents[0], np.float32).reshape(shape)
