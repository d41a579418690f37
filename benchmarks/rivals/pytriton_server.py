"""PyTriton with a network of `benchmarks.nets`: `python -m benchmarks.rivals.pytriton_server NAME PORT`."""

import sys

import numpy as np
import torch
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks import nets


def main(name: str, port: int) -> None:
    """Serves until it is ended."""
    torch.set_num_threads(1)
    network = nets.make(name)

    @batch  # type: ignore[untyped-decorator]
    def infer(input: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> dict[str, object]:  # noqa: A002 - the input's name
        with torch.inference_mode():
            return {"output": network(torch.from_numpy(input.copy())).numpy()}

    config = TritonConfig(grpc_port=port, http_port=port + 1, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            name,
            infer,
            [Tensor(name="input", dtype=np.float32, shape=nets.SHAPES[name])],
            [Tensor(name="output", dtype=np.float32, shape=(nets.CLASSES,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
