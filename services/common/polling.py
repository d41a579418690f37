"""How gRPC's core waits for sockets in a process that answers Predict.

Since 1.80 threads of gRPC's own wait for them, and hand what comes to the thread that waits for grpc.aio: a change of
threads for each of a call's events. With the experiment off, of which gRPC's documentation says how
(doc/environment_variables.md, GRPC_EXPERIMENTS), that thread waits for the sockets itself, as it did in all releases
before: a quarter to a third less of the processor for a call. See docs/adr/0044-who-waits-for-sockets.md.
"""

import os
from typing import Final

VARIABLE: Final = "GRPC_EXPERIMENTS"
IN_PLACE: Final = "-event_engine_poller_for_python"
"""gRPC complains of a name that it does not know; that of this one is known to the releases that pyproject.toml
allows."""


def poll_in_place() -> None:
    """Settles it for this process, unless its environment says something of experiments.

    grpc reads it as it is imported, so that this has to come before.
    """
    os.environ.setdefault(VARIABLE, IN_PLACE)
