"""The gRPC metadata keys of Predict."""

from typing import Final

MODEL: Final = "x-crossfade-model"
KEY: Final = "x-crossfade-key"
SEGMENT: Final = "x-crossfade-segment"
VERSION: Final = "x-crossfade-version"
TRAFFIC: Final = "x-crossfade-traffic"
EPOCH: Final = "x-crossfade-epoch"
COHORT: Final = "x-crossfade-cohort"
"""From a Router to a Worker: the cohort of the request's key, 0 to 199, in a lane that assigns by key."""
ACCEPTED: Final = "x-crossfade-accepted"
"""In a Worker's initial metadata: the request reached its handler, so that its outcome is charged to the version."""
FORWARDED: Final = "x-crossfade-forwarded"
"""On feedback that one Router hands to another: it goes no further."""
PREDICTION_ID: Final = "crossfade_prediction_id"
"""The name of the answer's parameter that holds the prediction token."""
