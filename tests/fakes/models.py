"""Small torch models, packaged as artifacts, and requests for them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crossfade.artifact import Artifact, package, verify
from crossfade.artifact.folder import file_entry
from crossfade.manifest import MANIFEST_FILE, dumps
from crossfade.predict.v1 import predict_pb2

WIDTH = 4
CLASSES = ("low", "middle", "high")

Rows = npt.NDArray[np.float32]


RAISES = 100.0
"""`Scores` raises for a row that begins with this or more."""


class Scores(nn.Module):
    """Scores of three classes, x @ w, for tests: with ways to fail and to be slow.

    Args:
        scale: multiplies w.
        nan_above: rows whose first value is above it get NaN.
        work: size of a square matrix that is multiplied with itself at every call; 1,200 takes some 0.1 s.
    """

    def __init__(self, scale: float = 1.0, nan_above: float = 1e9, work: int = 0) -> None:
        super().__init__()
        self.zeros: torch.Tensor
        self.square: torch.Tensor
        self.weight = nn.Parameter(torch.arange(WIDTH * 3, dtype=torch.float32).reshape(WIDTH, 3) * scale)
        self.register_buffer("zeros", torch.zeros(int(RAISES)))
        self.register_buffer("square", torch.zeros(work, work))
        self.nan_above = nan_above
        self.work = work

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4] to [rows, 3]."""
        y = x @ self.weight
        # An index out of range raises.
        y = y + self.zeros[x[:, 0].abs().to(torch.int64)].unsqueeze(1)
        if self.work:
            y = y + (self.square @ self.square)[0, 0]
        return torch.where(x[:, :1] > self.nan_above, torch.full_like(y, float("nan")), y)


class Noting(nn.Module):
    """Puts rows into a buffer, and reads them there.

    Args:
        width: of a row.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.notes: torch.Tensor
        self.register_buffer("notes", torch.zeros(64, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, width] to the same."""
        at = torch.arange(x.shape[0])
        self.notes.index_copy_(0, at, x)
        return self.notes.index_select(0, at) * 2


@dataclass(frozen=True)
class Packaged:
    """An artifact and its address."""

    artifact: Artifact

    @property
    def uri(self) -> str:
        """file://…"""
        return self.artifact.path.absolute().as_uri()


def package_scores(folder: Path, scale: float = 1.0, nan_above: float = 1e9, work: int = 0, **options: Any) -> Packaged:
    """Packages `Scores` with a reference profile."""
    rows = reference_rows()
    options = {"reference": rows, "task": "classification", "classes": CLASSES, "max_batch": 64, **options}
    return Packaged(package(Scores(scale, nan_above, work), example=rows[:16], to=folder, **options))


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


def rewrite(packaged: Packaged, folder: Path, files: Mapping[str, bytes]) -> Packaged:
    """A copy of an artifact with other files, and a manifest that agrees with them."""
    shutil.copytree(packaged.artifact.path, folder)
    entries = []
    for entry in packaged.artifact.manifest.files:
        path = folder / entry.path
        if entry.path in files:
            path.write_bytes(files[entry.path])
        entries.append(file_entry(path))
    manifest = replace(packaged.artifact.manifest, files=tuple(entries))
    (folder / MANIFEST_FILE).write_bytes(dumps(manifest))
    return Packaged(verify(folder))


def golden_file(rows: Rows, scores: Rows) -> bytes:
    """A file of golden rows."""
    stored = BytesIO()
    np.savez(stored, **{"inputs.input": rows, "outputs.output": scores})  # type: ignore[arg-type] # savez's own flag
    return stored.getvalue()
