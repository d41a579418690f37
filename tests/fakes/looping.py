"""A small model that answers in parts, packaged, and what it answers by a loop of torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from crossfade.artifact import Loop, package
from crossfade.predict.v1 import predict_pb2
from tests.fakes.models import Packaged

WIDTH = 4
NEVER = 1_000_000
"""A length that no stream of these tests reaches."""


class Walk(nn.Module):
    """One step of a walk that begins where the request says: with ways to end, to fail and to be slow.

    Args:
        nan_at: the step whose position is NaN for rows that begin above 50.
        work: size of a square matrix that is multiplied with itself at every step; 1,200 takes some 0.1 s.
        wide: numbers that each part holds beside.
    """

    def __init__(self, nan_at: int = 3, work: int = 0, wide: int = 1) -> None:
        super().__init__()
        self.square: torch.Tensor
        self.padding: torch.Tensor
        generator = torch.Generator().manual_seed(3)
        self.turn = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=generator))
        self.look = nn.Parameter(torch.randn(WIDTH, 2, generator=generator))
        self.register_buffer("square", torch.zeros(work, work))
        self.register_buffer("padding", torch.zeros(wide))
        self.nan_at = nan_at
        self.work = work

    def forward(
        self, start: torch.Tensor, length: torch.Tensor, place: torch.Tensor, count: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """start [rows, 4], length [rows, 1] (whole numbers), place [rows, 4], count [rows, 1] to the next of them."""
        following = torch.tanh(place @ self.turn + start)
        number = count + 1
        seen = following @ self.look
        if self.work:
            seen = seen + (self.square @ self.square)[0, 0]
        bad = (start[:, :1] > 50) & (number == self.nan_at)
        return {
            "seen": torch.where(bad, torch.full_like(seen, float("nan")), seen),
            "place": following,
            "count": number,
            "wide": self.padding.unsqueeze(0) + seen[:, :1],
            "ended": number >= length,
        }


LOOP = Loop(feeds={"place": "place", "count": "count"}, parts=("seen", "count"), max_parts=40, until="ended")


def example(rows: int = 8, seed: int = 5) -> dict[str, npt.NDArray[Any]]:
    """Inputs of a first step."""
    rng = np.random.default_rng(seed)
    return {
        "start": rng.random((rows, WIDTH), dtype=np.float32),
        "length": np.full((rows, 1), NEVER, np.int64),
        "place": rng.random((rows, WIDTH), dtype=np.float32),
        "count": np.zeros((rows, 1), np.int64),
    }


def package_walk(folder: Path, module: Walk | None = None, loop: Loop | None = LOOP, **options: Any) -> Packaged:
    """Packages a walk."""
    made = package(module or Walk(), example=example(), to=folder, task="other", max_batch=64, loop=loop, **options)
    return Packaged(made)


def walked(
    start: npt.NDArray[Any], lengths: Sequence[int], parts: int = LOOP.max_parts, module: Walk | None = None
) -> Iterator[npt.NDArray[np.float32]]:
    """What each part sees, [rows, 2], row by row as if it walked alone; a row that has ended stays as it was."""
    step = (module or Walk()).eval()
    state = {"place": torch.zeros(len(start), WIDTH), "count": torch.zeros(len(start), 1, dtype=torch.int64)}
    length = torch.tensor(lengths).reshape(-1, 1)
    seen = torch.zeros(len(start), 2)
    for _ in range(parts):
        running = (state["count"] < length)[:, 0]
        if not running.any():
            return
        with torch.no_grad():
            given = step(torch.from_numpy(start), length, state["place"], state["count"])
        seen = torch.where(running.unsqueeze(1), given["seen"], seen)
        for name in tuple(state):
            state[name] = torch.where(running.unsqueeze(1), given[name], state[name])
        yield seen.numpy().copy()


def walk_request(
    start: npt.NDArray[Any],
    lengths: Sequence[int],
    *,
    parts: int | None = None,
    outputs: Sequence[str] = (),
    model: str = "walk",
    request_id: str = "",
) -> bytes:
    """A request of a walk, which does not say where it begins."""
    request = predict_pb2.PredictRequest(model_name=model, id=request_id)
    for name, array in (("start", start), ("length", np.array(lengths, np.int64).reshape(-1, 1))):
        datatype = "FP32" if array.dtype == np.float32 else "INT64"
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    for name in outputs:
        request.outputs.add(name=name)
    if parts is not None:
        request.parameters["max_parts"].int64_param = parts
    return request.SerializeToString()


def seen_in(part: predict_pb2.PredictResponse) -> npt.NDArray[np.float32]:
    """What a part says is seen."""
    return np.frombuffer(part.raw_output_contents[0], np.float32).reshape(tuple(part.outputs[0].shape))
