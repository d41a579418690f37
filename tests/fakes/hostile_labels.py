"""Labels that callers send with prediction ids, and among the callers one that means harm."""

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from crossfade.predict.v1 import predict_pb2
from evaluator.terms import Terms
from services.common.mirrored_pairs import TRAFFIC_NAMES
from services.common.prediction_token import Prediction, TokenKeys
from services.common.telemetry.store import MetricStore
from tests.fakes.late_labels import Label, LateLabels
from tests.fakes.metrics import CLASSES

KEY: Final = b"k" * 32
FIRST_REPEATS: Final = 10_000
_TRAFFICS: Final = {name: number for number, name in enumerate(TRAFFIC_NAMES)}
_HEAD_BYTES: Final = 27
"""Of an id: its key, format, nonce, time, epoch, slice and traffic; the names of model and version come behind."""


@dataclass(slots=True, kw_only=True)
class SentLabels(LateLabels):
    """Labels under way with the ids of their predictions, one row each.

    One caller has a few answers of its own, and says of each version in `claims` what is not so: of the first answer
    10,000 times, and of one more at each chance `repeats` times. Each time it forges twice as many ids.

    Attributes:
        send: takes what all callers send.
        claims: whether a version's answers are right, as the hostile caller has it.
        repeats: how often it sends a label.
        sent: labels that honest callers and the hostile one sent of answers that there were.
        forged: labels with forged ids.
        repeated: how often the first label was sent, by version.
    """

    send: Callable[[list[predict_pb2.Observation]], None]
    claims: Mapping[str, bool] = field(default_factory=dict)
    repeats: int = 200
    sent: int = 0
    forged: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    _keys: TokenKeys = field(default_factory=lambda: TokenKeys({1: KEY}, signing=1))
    _foreign: TokenKeys = field(default_factory=lambda: TokenKeys({1: b"x" * 32}, signing=1))
    _nonces: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def count(self, store: MetricStore, terms: Terms, now: float, *, regression: bool) -> None:
        """Sends those that are due."""
        del store, regression
        of = dict(self.claims)
        observations: list[predict_pb2.Observation] = []
        for label in self.take(now):
            prediction = self._prediction(label, terms)
            self.sent += 1
            compared = label.traffic == ("live" if label.version == terms.test else "control")
            if compared and label.version in of:
                observations += self._hostile(prediction, of.pop(label.version), terms)
            else:
                observations.append(_observation(self._keys.sign(prediction), label.actual))
        self.send(observations)

    def _prediction(self, label: Label, terms: Terms) -> Prediction:
        epoch, _, number = label.slice.partition(".")
        return Prediction(
            nonce=next(self._nonces),
            time_ms=round(label.served * 1000),
            epoch=int(epoch),
            slice=int(number),
            traffic=_TRAFFICS[label.traffic],
            model=terms.model,
            version=label.version,
            segment=terms.segment,
            classes=(CLASSES.index(label.predicted),),
        )

    def _hostile(self, mine: Prediction, right: bool, terms: Terms) -> list[predict_pb2.Observation]:
        """What the hostile caller sends of one of its answers, and of answers that never were."""
        said = mine.classes[0]
        claimed = CLASSES[said if right else 1 - said]
        token = self._keys.sign(mine)
        times = self.repeats if mine.version in self.repeated else FIRST_REPEATS
        self.repeated.setdefault(mine.version, times)
        forged = [
            one
            for _ in range(self.repeats // 2)
            for one in _forgeries(token, mine._replace(nonce=next(self._nonces)), self._foreign, terms)
        ]
        self.forged += len(forged)
        return [_observation(token, claimed)] * times + [_observation(one, claimed) for one in forged]


def _forgeries(token: str, mine: Prediction, foreign: TokenKeys, terms: Terms) -> Iterator[str]:
    """Ids like the caller's own, of answers that never were."""
    other = foreign.sign(mine)
    raw, new = _bytes(token), _bytes(other)
    # The new answer under the tag of the old one.
    yield _text(new[:-16] + raw[-16:])
    # The old answer as the other version's.
    swapped = terms.stable if mine.version == terms.test else terms.test
    yield _text(raw[:_HEAD_BYTES] + raw[_HEAD_BYTES:].replace(mine.version.encode(), swapped.encode(), 1))
    # With a key of the caller's, and with none.
    yield other
    yield _text(new[:-16])


def _observation(token: str, label: str) -> predict_pb2.Observation:
    return predict_pb2.Observation(prediction_id=token, row=0, label=label)


def _bytes(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
