"""The gRPC metadata keys of Predict."""

from typing import Final

MODEL: Final = "x-crossfade-model"
KEY: Final = "x-crossfade-key"
SEGMENT: Final = "x-crossfade-segment"
VERSION: Final = "x-crossfade-version"
TRAFFIC: Final = "x-crossfade-traffic"
EPOCH: Final = "x-crossfade-epoch"
PREDICTION_ID: Final = "crossfade_prediction_id"
"""The name of the answer's parameter that holds the prediction token."""
