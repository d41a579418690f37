"""What a client raises goes from one process to another, as multiprocessing's pools and Celery's results do it."""

import copy
from pathlib import Path

import grpc
import pytest

from crossfade.answers import ClientClosedError, NothingAnswersError, NoTlsConnectionError, PredictError
from crossfade.tls_check import TlsFileError

BUSY = PredictError(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", "the queue is full", 0.5, {"rows": "1024"})


@pytest.mark.parametrize(
    "error",
    [
        BUSY,
        NothingAnswersError(grpc.StatusCode.UNAVAILABLE, "", "nothing answers"),
        NoTlsConnectionError(grpc.StatusCode.UNAVAILABLE, "", "it takes TLS"),
        ClientClosedError(),
        TlsFileError(Path("ca.pem"), "holds no certificate"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_stays_what_it_is(error: Exception) -> None:
    # As pickle does it.
    there = copy.copy(error)
    assert type(there) is type(error)
    assert (str(there), vars(there)) == (str(error), vars(error))
