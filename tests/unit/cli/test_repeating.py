"""Calls that get no answer: which are made again, for how long, and what is said when none comes."""

from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from crossfade.cli.connect import Service
from crossfade.cli.errors import CommandError, ExitCode, Facts, UsageError
from crossfade.cli.repeating import ATTEMPTS, Repeat, interrupted
from crossfade.registry.v1.service_pb2 import (
    GetModelRequest,
    PromoteRolloutRequest,
    PublishVersionRequest,
)

ID = "0f5a6d1e-0000-4000-8000-000000000003"
UNAVAILABLE, LATE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
UNRESOLVED = (
    "errors resolving registry.invalid:8400: [field:hostname lookup error:address lookup failed for "
    "registry.invalid:8400: Domain name not found]"
)
ALL_REFUSED = "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:8400: Failed to connect"
REFUSED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8400: Failed to connect"


class Failed(grpc.RpcError):
    """A call that failed."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__()
        self._code, self._message = code, message

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._message


def service(repeat: Repeat | None = None, **changes: Any) -> Service:
    """A Registry that is called by the methods below."""
    return Service("registry", "localhost:8400", cast("grpc.Channel", None), (), 5.0, repeat, **changes)


def failing(*failures: Failed) -> tuple[Callable[..., str], list[Any]]:
    """A method that fails in these ways and then answers, and what it was asked for."""
    asked: list[Any] = []

    def method(request: Any, timeout: float, metadata: object) -> str:
        copy = type(request)()
        copy.CopyFrom(request)
        asked.append(copy)
        assert timeout == 5.0
        if len(asked) <= len(failures):
            raise failures[len(asked) - 1]
        return "answer"

    return method, asked


@pytest.mark.parametrize("request_", [GetModelRequest(name="models/m"), PublishVersionRequest(request_id=ID)])
def test_a_call_without_an_answer_is_made_again(request_: Any) -> None:
    method, asked = failing(Failed(LATE, "Deadline Exceeded"), Failed(UNAVAILABLE, "Socket closed"))
    assert service().call(method, request_) == "answer"
    assert asked == [request_] * 3


def test_what_was_refused_is_not_asked_for_again() -> None:
    method, asked = failing(Failed(grpc.StatusCode.ABORTED, "somebody was faster"))
    with pytest.raises(CommandError) as caught:
        service().call(method, PublishVersionRequest(request_id=ID))
    assert len(asked) == 1
    assert caught.value.facts == Facts("ABORTED", request_id=ID)


def test_what_may_be_gone_is_asked_once() -> None:
    method, asked = failing(Failed(UNAVAILABLE, REFUSED))
    with pytest.raises(CommandError):
        service(patient=False).call(method, GetModelRequest())
    assert len(asked) == 1


def given_up(request: Any, *failures: Failed) -> CommandError:
    """What is said after the last attempt."""
    method, asked = failing(*failures)
    with pytest.raises(CommandError) as caught:
        service().call(method, request)
    assert len(asked) == len(failures) == ATTEMPTS
    assert caught.value.exit_code is ExitCode.NOTHING_ANSWERS
    return caught.value


@pytest.mark.parametrize("said", [REFUSED, ALL_REFUSED, UNRESOLVED])
def test_a_change_that_was_not_sent_was_not_made(said: str) -> None:
    refused = [Failed(UNAVAILABLE, said)] * ATTEMPTS
    assert given_up(PublishVersionRequest(request_id=ID), *refused).message.endswith(". Nothing was changed")
    assert "changed" not in given_up(GetModelRequest(), *refused).message


def test_a_change_that_may_have_been_made_can_be_asked_for_again() -> None:
    failures = [Failed(LATE, "Deadline Exceeded"), *[Failed(UNAVAILABLE, REFUSED)] * (ATTEMPTS - 1)]
    said = given_up(PublishVersionRequest(request_id=ID), *failures).message
    assert f"The change may have been made: the same command with --request-id {ID} makes it if it was not" in said
    promote = PromoteRolloutRequest(name="models/m/rollouts/3", etag="e7", request_id=ID)
    failure = given_up(promote, *failures)
    assert f"the same command with --rollout 3 --request-id {ID}:e7 " in failure.message
    assert failure.message.endswith(failure.hint)
    assert failure.facts == Facts("UNAVAILABLE", request_id=f"{ID}:e7")


def test_a_command_that_is_said_again_makes_the_same_request() -> None:
    method, asked = failing()
    repeat = Repeat.parse(f"{ID.upper()}:e7")
    service(repeat).call(method, PromoteRolloutRequest(name="models/m/rollouts/3", etag="e8", request_id="other"))
    service(repeat).call(method, PublishVersionRequest(request_id="other"))
    service(repeat).call(method, GetModelRequest(name="models/m"))
    service(Repeat.parse("")).call(method, PublishVersionRequest(request_id="other"))
    assert asked == [
        PromoteRolloutRequest(name="models/m/rollouts/3", etag="e7", request_id=ID),
        PublishVersionRequest(request_id=ID),
        GetModelRequest(name="models/m"),
        PublishVersionRequest(request_id="other"),
    ]


def test_what_is_no_request_id() -> None:
    with pytest.raises(UsageError, match="is no UUID"):
        Repeat.parse("again")


def test_an_interrupted_change_says_how_it_is_said_again() -> None:
    asked = PublishVersionRequest(parent="models/churn", request_id="0f5a6d1e-0000-4000-8000-000000000001")
    ended = interrupted(asked)
    assert isinstance(ended, CommandError)
    assert ended.exit_code == ExitCode.INTERRUPTED
    assert "--request-id 0f5a6d1e-0000-4000-8000-000000000001 makes it if it was not" in ended.message
    assert ended.facts.request_id == "0f5a6d1e-0000-4000-8000-000000000001"
    assert isinstance(interrupted(GetModelRequest()), KeyboardInterrupt)
