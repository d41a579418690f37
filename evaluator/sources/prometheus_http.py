"""Prometheus's HTTP API: instant queries for the samples that were scraped.

Source: Prometheus, "HTTP API": POST /api/v1/query. A range selector in an instant query answers the samples as they
were scraped, each with its own time; an instant selector would give all of them the time of the query.
"""

import asyncio
import http.client
import json
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from evaluator.sources.prometheus_access import Access
from evaluator.sources.prometheus_series import PrometheusError, RawSeries, Selection

_LARGEST_BYTES: Final = 256 * 2**20
"""A larger answer would take the Evaluator's memory."""
_CHUNK: Final = 2**16
_THREADS: Final = 4
_MATRIX: Final = "matrix"
_VECTOR: Final = "vector"
_UNFIT: Final = {_MATRIX: "ranges of samples", "scalar": "one number", "string": "a text"}
"""What an expression may give besides a vector."""
_UNASKABLE: Final = frozenset({http.client.BAD_REQUEST, http.client.UNPROCESSABLE_ENTITY})
"""What an expression is refused with that cannot be read, or be evaluated."""
_SAID: Final = 200
"""Characters of what a server says that are passed on."""


class PrometheusHttp:
    """Asks a Prometheus server, on threads of its own.

    Args:
        access: where it is.
        largest: bytes that an answer may have.
    """

    def __init__(self, access: Access, largest: int = _LARGEST_BYTES) -> None:
        self._access = access
        self._largest = largest
        self._threads = ThreadPoolExecutor(_THREADS, "prometheus")

    async def query(self, selection: Selection, timeout: float) -> Sequence[RawSeries]:
        """The samples of every series that matches, within `timeout` seconds.

        Raises:
            PrometheusError: there is no answer, or only a part of it.
        """
        return await self._in_time(promql(selection), selection.until, timeout, _MATRIX)

    async def evaluate(self, expression: str, at: int, timeout: float) -> Sequence[RawSeries]:
        """What an expression gives at a time, milliseconds since 1970-01-01 UTC: one sample per series.

        Raises:
            PrometheusError: there is no answer, or only a part of it.
        """
        return await self._in_time(expression, at, timeout, _VECTOR)

    async def _in_time(self, query: str, at: int | None, timeout: float, kind: str) -> Sequence[RawSeries]:
        end = time.monotonic() + timeout
        open_: list[http.client.HTTPConnection] = []
        try:
            # The thread keeps the bound too; this one is for a server that sends a byte at a time.
            async with asyncio.timeout(max(timeout, 0.0)):
                ask = partial(self._ask, query, at, end, kind, open_)
                return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except TimeoutError:
            raise PrometheusError(self._late()) from None
        finally:
            # It would keep the thread for as long, and there are few.
            _hang_up(open_)

    async def close(self) -> None:
        """Ends the threads once their questions have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(
        self, query: str, at: int | None, end: float, kind: str, open_: list[http.client.HTTPConnection]
    ) -> list[RawSeries]:
        status, body = self._post(query, at, end, open_)
        if status != http.client.OK:
            raise PrometheusError(self._refusal(status, body, kind))
        return parse(body, kind)

    def _post(
        self, query: str, at: int | None, end: float, open_: list[http.client.HTTPConnection]
    ) -> tuple[int, bytes]:
        access = self._access
        left = end - time.monotonic()
        if left <= 0:
            raise PrometheusError(self._late())
        form = {"query": query, "timeout": f"{max(round(left * 1000), 1)}ms"}
        if at is not None:
            form["time"] = f"{at / 1000:.3f}"
        headers = {"content-type": "application/x-www-form-urlencoded", "user-agent": "crossfade-evaluator"}
        authorization = access.authorization()
        if authorization:
            headers["authorization"] = authorization
        # Straight to the server: neither a proxy of the environment nor a redirection gets the secret.
        connection = (
            http.client.HTTPConnection(access.host, access.port, timeout=left)
            if access.tls is None
            else http.client.HTTPSConnection(access.host, access.port, timeout=left, context=access.tls.context())
        )
        open_.append(connection)
        try:
            connection.request("POST", f"{access.path}/api/v1/query", urlencode(form), headers)
            response = connection.getresponse()
            return response.status, self._read(response, end)
        except TimeoutError:
            raise PrometheusError(self._late()) from None
        except (OSError, http.client.HTTPException) as error:
            raise PrometheusError(
                f"Prometheus at {access.url} cannot be reached ({str(error) or type(error).__name__}): see whether it "
                "runs, and check CROSSFADE_EVALUATOR_PROMETHEUS"
            ) from error
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse, end: float) -> bytes:
        read = bytearray()
        while chunk := response.read1(_CHUNK):
            read += chunk
            if len(read) > self._largest:
                raise PrometheusError(
                    f"Prometheus answers more than {self._largest // 2**20} MiB: let it scrape less often, or shorten "
                    "the policy's stale_after"
                )
            if time.monotonic() > end:
                raise TimeoutError
        return bytes(read)

    def _late(self) -> str:
        return (
            f"Prometheus at {self._access.url} did not answer in time: raise CROSSFADE_SCRAPE_SECONDS or the policy's "
            "look_interval, or see what slows it down"
        )

    def _refusal(self, status: int, body: bytes, kind: str) -> str:
        url = self._access.url
        if status in {401, 403}:
            return (
                f"Prometheus at {url} refuses the Evaluator (HTTP {status}): check "
                "CROSSFADE_EVALUATOR_PROMETHEUS_TOKEN_FILE, or _USER and _PASSWORD_FILE"
            )
        if status == 404 or 300 <= status < 400:
            return (
                f"there is no Prometheus API at {url} (HTTP {status}): check CROSSFADE_EVALUATOR_PROMETHEUS; what "
                "stands before /api/v1 belongs to it"
            )
        advice = "correct its query in the policy" if kind == _VECTOR and status in _UNASKABLE else "see its log"
        return f"Prometheus at {url} does not answer the question (HTTP {status}{_said(body)}): {advice}"


def _hang_up(connections: Iterable[http.client.HTTPConnection]) -> None:
    """Ends what a thread waits for, if it still does."""
    for sock in [connection.sock for connection in connections]:
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def promql(selection: Selection) -> str:
    """The selection as a range selector."""
    matchers = [f"__name__=~{_any_of(selection.names)}"]
    matchers += [f"{label}=~{_any_of(values)}" for label, values in selection.labels.items()]
    return f"{{{','.join(matchers)}}}[{selection.span}ms]"


def _any_of(values: Sequence[str]) -> str:
    pattern = "|".join(re.escape(value) for value in dict.fromkeys(values))
    return json.dumps(pattern, ensure_ascii=False)


def parse(body: bytes, kind: str = _MATRIX) -> list[RawSeries]:
    """The series of an answer: ranges of samples (a matrix), or one each (a vector).

    Raises:
        PrometheusError: it is an error, a part of an answer, or of another form.
    """
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise PrometheusError(f"Prometheus reports an error{_error_of(answer)}: see its log")
        if warnings := answer.get("warnings"):
            raise PrometheusError(
                f"Prometheus warns that its answer may be a part only ({_short(str(warnings[0]))}): see its log"
            )
        data = answer["data"]
        times = _Times()
        found = data["resultType"]
        if kind == _VECTOR and (found in _UNFIT or any("histogram" in one for one in data["result"])):
            # The user wrote the expression, and the server has done as it says.
            raise PrometheusError(
                f"its query gives {_UNFIT.get(found, 'native histograms')}, and counters are needed: write it in the "
                "policy as sum by (version, instance) (…)"
            )
        if found != kind:
            raise TypeError(f"the answer is no {kind}")
        return [
            RawSeries(_labels(one["metric"]), {times[when]: float(value) for when, value in _samples(one, kind)})
            for one in data["result"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise PrometheusError(
            f"what Prometheus answers cannot be read ({type(error).__name__}): check CROSSFADE_EVALUATOR_PROMETHEUS"
        ) from error


def _samples(one: Any, kind: str) -> Any:
    return one.get("values", ()) if kind == _MATRIX else (one["value"],)


class _Times(dict[float, int]):
    """Seconds as milliseconds; an answer of thousands of series has few different ones."""

    def __missing__(self, seconds: float) -> int:
        self[seconds] = made = round(float(seconds) * 1000)
        return made


def _labels(metric: object) -> Mapping[str, str]:
    if not isinstance(metric, dict) or not all(type(value) is str for value in metric.values()):
        raise TypeError("labels are texts")
    return metric


def _said(body: bytes) -> str:
    try:
        return _error_of(json.loads(body))
    except (ValueError, RecursionError):
        return ""


def _error_of(answer: object) -> str:
    said = answer.get("error") if isinstance(answer, dict) else None
    return f": {_short(said)}" if isinstance(said, str) and said else ""


def _short(text: str) -> str:
    return "".join(character for character in text[:_SAID] if character.isprintable())
