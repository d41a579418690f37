"""What is said of calls that failed, and of what changed meanwhile."""

import grpc
import pytest

from crossfade.cli.actions.transitions import changed
from crossfade.cli.errors import NothingAnswersError, command_error
from crossfade.registry.v1 import resources_pb2 as resources
from tests.unit.cli import samples


def test_what_changed_meanwhile_is_told() -> None:
    after = samples.rollout(resources.ROLLOUT_STATE_PROMOTED)
    after.effective_share_bps = 0
    after.note = "v2 is no worse than v1."
    assert changed("churn", samples.rollout(), after) == (
        "rollout 7 has changed since it was read: it was RUNNING at 5 % (v2 gets 5 % (step 1 of 1)), it is "
        "PROMOTED (v2 is no worse than v1). Look at it (crossfade explain churn --rollout 7), then say it again "
        "if you still want it"
    )


class _Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def test_nothing_answers() -> None:
    error = command_error(_Failure(grpc.StatusCode.UNAVAILABLE, "connection refused"), "localhost:8500", "router")
    assert isinstance(error, NothingAnswersError)
    assert int(error.exit_code) == 3
    assert error.message == (
        "nothing answers at localhost:8500. Is `crossfade up` running? "
        "(--router or CROSSFADE_ROUTER set another address)"
    )


@pytest.mark.parametrize(
    ("code", "details", "words", "exit_code"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SSL handshake failed", "no TLS connection to localhost:8400", 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "did not answer in time", 3),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "is no Registry of Crossfade", 1),
        (grpc.StatusCode.UNKNOWN, "", "localhost:8400 answered UNKNOWN: no message", 1),
    ],
)
def test_other_failures(code: grpc.StatusCode, details: str, words: str, exit_code: int) -> None:
    error = command_error(_Failure(code, details), "localhost:8400", "registry")
    assert words in error.message
    assert error.exit_code == exit_code
