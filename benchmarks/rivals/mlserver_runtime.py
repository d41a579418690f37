"""MLServer's model of a network of `benchmarks.nets`."""

import numpy as np
import torch
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks import nets


class Runtime(MLModel):  # type: ignore[misc] # MLServer is in another environment
    """Answers with the network that has the model's name."""

    async def load(self) -> bool:
        """Makes the network."""
        torch.set_num_threads(1)
        self._network = nets.make(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Runs a batch."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        with torch.inference_mode():
            scores = self._network(torch.from_numpy(np.ascontiguousarray(rows))).numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", scores)])
