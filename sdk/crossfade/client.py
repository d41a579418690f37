"""Predict and Feedback for backend services: numpy in, numpy out.

with Client("localhost:8500") as client:
    answer = client.predict("churn", rows)
    client.feedback(answer, labels)
"""

import time
from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from crossfade.answers import (
    Answer,
    ClientClosedError,
    NothingAnswersError,
    NoTlsConnectionError,
    PredictError,
    answer_of,
)
from crossfade.async_client import AsyncClient
from crossfade.calling import DEFAULT_TIMEOUT, Caller, pause
from crossfade.channels import Channels
from crossfade.codec import Array
from crossfade.connection import TlsFiles
from crossfade.forks import ClientForkedError
from crossfade.input_types import Asked, Inputs, require_texts
from crossfade.observing import FeedbackSummary, batches, observations_of, summarize
from crossfade.predict.v1 import predict_pb2

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "ClientClosedError",
    "ClientForkedError",
    "FeedbackSummary",
    "Inputs",
    "NoTlsConnectionError",
    "NothingAnswersError",
    "PredictError",
]


class Client(Caller):
    """Calls models through a Router (or a Worker). Threads may share it; a process that is forked opens a channel anew.

    Args:
        address: host:port.
        tls: files of mutual TLS. Default: those that the environment names, if any.
        timeout: seconds that a call may take unless it says otherwise; math.inf: any.
        user: the caller's name in a local trial; with TLS the certificate says it. Default: the login name.

    Raises:
        OSError: a TLS file cannot be read.
        TypeError: the timeout is no number.
        ValueError: the address is none, the timeout no time, or a TLS file not what it is to be.
    """

    def __init__(
        self, address: str, *, tls: TlsFiles | None = None, timeout: float = DEFAULT_TIMEOUT, user: str = ""
    ) -> None:
        super().__init__(address, tls or TlsFiles.from_environment(), timeout, user)
        self._channels: Channels = Channels(self._address, self._tls)

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        key: str | int = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Answer:
        """Runs a model.

        Args:
            model: the model's id.
            inputs: one array, or arrays by input name; the first dimension is the batch. What numpy makes by default,
                float64 and int64 (lists, too), becomes the type that the input takes; other types are sent as they are.
            key: routing key (user, session): under KEY assignment one key always gets one arm. A whole number is the
                same key as its decimal text.
            segment: the caller's segment.
            version: a pin: a version, "@stable", "@test" or "@previous"; such calls are left out of the gates.
            request_id: echoed in the answer.
            timeout: seconds; the answer comes within them or not at all.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why.
            TypeError: a name is no text, the key neither a text nor a whole number, an array not of numbers, or the
                timeout no number.
            ValueError: a name or key is not printable ASCII, or the timeout NaN.
        """
        asked = Asked(self._types, model, inputs, request_id=request_id)
        said = self._metadata(model, key, segment, version)
        end = time.monotonic() + self._seconds(timeout)
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                return answer_of(self._ask(self._channels.get(left).stub.Predict, asked.message, left, said))
            except PredictError as error:
                if not asked.corrected(error.reason, error.metadata):
                    raise

    def predict_stream(
        self,
        model: str,
        inputs: Inputs,
        *,
        max_parts: int | None = None,
        key: str | int = "",
        segment: str = "",
        version: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Generator[Answer, None, None]:
        """Runs a model that answers in parts; one that answers at once gives one part.

        for part in client.predict_stream("writer", {"token": first}):
            print(part.output)

        The call begins with the first part that is asked for, and ends when the iterator is closed. The last part alone
        has a prediction id; give that part to `feedback`.

        Args:
            model: the model's id.
            inputs: of the first step: one array, or arrays by input name. Inputs that the model's steps feed may be
                left out, and begin as zeros.
            max_parts: at most so many parts, and no more than the version has; by default that.
            key: routing key; see `predict`.
            segment: the caller's segment.
            version: a pin; see `predict`.
            request_id: echoed in each part.
            timeout: seconds that the whole answer may take, the caller's own time between parts included.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why. Parts that came before are whole. A stream that has
                begun cannot be saved: ask again.
            TypeError: a name is no text, or the key neither a text nor a whole number.
            ValueError: a name or key is not printable ASCII.
        """
        asked = Asked(self._types, model, inputs, request_id=request_id, max_parts=max_parts)
        said = self._metadata(model, key, segment, version)
        return self._parts(asked, said, self._seconds(timeout))

    def _parts(self, asked: Asked, said: Any, seconds: float) -> Generator[Answer, None, None]:
        end = time.monotonic() + seconds
        parts = 0
        first: grpc.RpcError | None = None
        while True:
            left = max(0.0, end - time.monotonic())
            method = self._channels.get(left).stub.PredictStream
            with self._channels.calling():
                call = method(asked.message, timeout=left, metadata=said, wait_for_ready=first is not None)
                try:
                    for response in call:
                        parts += 1
                        yield answer_of(response)
                    return
                except grpc.RpcError as error:
                    first = self._before_next(asked, first, error, parts)
                finally:
                    call.cancel()
            time.sleep(min(pause(), max(0.0, end - time.monotonic())))

    def feedback(
        self,
        answer: Answer | str,
        observed: float | Sequence[Any] | Array,
        *,
        rows: int | Sequence[int] | Array | None = None,
    ) -> FeedbackSummary:
        """Reports what turned out to be true, one entry per row: a class name, a number, or None for nothing.

        client.feedback(prediction_id, ["keep", None, "churn"])
        client.feedback(prediction_id, "keep", rows=7)

        An array may have the shape [rows, 1]; one row's entry needs no list.

        A text is a label, also "1"; a number is what a regression should have answered, or of a classification a value
        that `value` gates judge. So the number of a class is no label: write its name, as in
        `[names[number] for number in numbers]`. The summary counts labels and values apart.

        The first 64 rows of a call take feedback: send at most 64 in each call where all are to be labelled.

        Args:
            answer: what `predict` returned, or its prediction_id, which may be stored and used by another process.
            observed: one entry per row.
            rows: the rows that the entries are about, from 0. Default: the first ones, in order.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed.
            TypeError: an entry is neither a text nor a number, or the answer neither an answer nor an id.
            ValueError: there is no prediction id, or there are more entries than rows, or one for several rows, or
                entries for rows beyond the 64th or other than there are.
        """
        return self.report(observations_of(answer, observed, rows))

    def classes(self, model: str, *, version: str = "", segment: str = "") -> tuple[str, ...]:
        """The names of a model's classes, in the order of the columns of its scores.

        names = client.classes("churn")
        [names[column] for column in answer.output.argmax(axis=1)]

        Args:
            model: the model's id.
            version: such as an answer's `version`. Default: the stable one.
            segment: the caller's segment, as for `predict`: it may have a stable version of its own.

        Returns:
            none, where the model is no classification.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: the call failed; its reason says why.
            TypeError: a name is no text.
            ValueError: a name is not printable ASCII.
        """
        require_texts(model=model, version=version)
        said = self._metadata(model, "", segment, "")
        request = predict_pb2.ModelMetadataRequest(name=model, version=version)
        return tuple(self._ask(self._channels.get(self._timeout).describe, request, self._timeout, said).classes)

    def report(self, observations: Iterable[predict_pb2.Observation]) -> FeedbackSummary:
        """Reports observations of any predictions, as messages of the protocol; see `feedback`.

        Raises:
            ClientClosedError: the client was closed.
            ClientForkedError: this process was forked while its parent made calls, and gRPC does not work in it.
            PredictError: a call failed; observations of the calls before it are counted.
        """
        said = list(observations)
        results: list[predict_pb2.ObservationResult] = []
        for request in batches(said):
            results.extend(
                self._ask(self._channels.get(self._timeout).stub.Feedback, request, self._timeout, self._user).results
            )
        return summarize(said, results)

    def _ask(self, method: Any, request: Any, seconds: float, said: Any) -> Any:
        """What is answered, by another attempt where nothing, or a Router without routes, has answered the first."""
        end = time.monotonic() + seconds
        first: grpc.RpcError | None = None
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                with self._channels.calling():
                    return method(request, timeout=left, metadata=said, wait_for_ready=first is not None)
            except grpc.RpcError as error:
                first = self._tried(first, error)
            time.sleep(min(pause(), max(0.0, end - time.monotonic())))
            self._channels.require_open()

    def close(self) -> None:
        """Closes the channel."""
        self._channels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
