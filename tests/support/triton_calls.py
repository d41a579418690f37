"""Calls a server by tritonclient, as it comes: `python triton_calls.py ADDRESS MODEL ROWS.npy [streams]`.

In a process of its own, for its messages have the protocol's own names, which are in no process of ours. Prints one
line of JSON: what was answered.
"""

import asyncio
import json
import queue
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.grpc import aio

Rows = npt.NDArray[np.float32]


def main() -> None:
    """Calls, and prints."""
    address, model, file, *more = sys.argv[1:]
    rows = np.load(file, allow_pickle=False)
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(model)
        found = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": [client.is_model_ready(model), client.is_model_ready("none")],
            "server": client.get_server_metadata().name,
            "inputs": [[one.name, one.datatype, list(one.shape)] for one in metadata.inputs],
            "scores": _scores(client.infer(model, [_input(rows)])),
            "asked": _scores(client.infer(model, [_input(rows)], outputs=[triton.InferRequestedOutput("output")])),
            "called_back": _scores(_called_back(client, model, rows)),
            "refused": _refused(client, model, rows),
            "streamed": _streamed(client, model, rows) if more else [],
        }
    found["awaited"] = _scores(asyncio.run(_awaited(address, model, rows)))
    print(json.dumps(found))  # noqa: T201 - what the test reads


def _input(rows: Rows, datatype: str = "FP32") -> Any:
    given = triton.InferInput("input", rows.shape, datatype)
    given.set_data_from_numpy(rows)
    return given


def _scores(result: Any) -> list[list[float]]:
    scores: list[list[float]] = result.as_numpy("output").tolist()
    return scores


def _called_back(client: Any, model: str, rows: Rows) -> Any:
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer(model, [_input(rows)], lambda result, error: answers.put(error or result))
    return answers.get(timeout=30)


def _refused(client: Any, model: str, rows: Rows) -> list[str]:
    try:
        client.infer(model, [_input(rows.astype(np.float64), "FP64")])
    except triton.InferenceServerException as error:
        return [str(error.status()), str(error.message())]
    return []


def _streamed(client: Any, model: str, rows: Rows) -> list[list[list[float]]]:
    """By their ids, in which order ever they were answered."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    for number in range(3):
        client.async_stream_infer(model, [_input(rows + number)], request_id=str(number))
    found = [answers.get(timeout=30) for _ in range(3)]
    client.stop_stream()
    return [_scores(one) for one in sorted(found, key=lambda one: str(one.get_response().id))]


async def _awaited(address: str, model: str, rows: Rows) -> Any:
    async with aio.InferenceServerClient(address) as client:
        return await client.infer(model, [_input(rows)])


if __name__ == "__main__":
    main()
