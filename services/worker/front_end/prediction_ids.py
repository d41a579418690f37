"""The prediction ids that a version's answers carry, and that labels come back with."""

import secrets
from collections.abc import Sequence
from typing import Final

from crossfade.manifest import Manifest, Task
from services.common.clock import Clock
from services.common.prediction_token import MAX_ROWS, Prediction, Signer, TokenKeys
from services.worker.domain import ServingKey
from services.worker.front_end.lanes import Place
from services.worker.shared_memory.tensors import Array, to_numbers

_WEYL: Final = 0x9E3779B97F4A7C15
_NONCE_BITS: Final = 0xFFFFFFFFFFFFFFFF
_KEPT_SIGNERS: Final = 1024


class PredictionIds:
    """Makes them.

    Args:
        keys: sign them.
        key: what is served.
        manifest: the version's.
        clock: when a prediction was made.
    """

    def __init__(self, keys: TokenKeys, key: ServingKey, manifest: Manifest, clock: Clock) -> None:
        self._keys = keys
        self._key = key
        self._clock = clock
        self._nonce = secrets.randbits(64)
        self._signers: dict[Place, Signer] = {}
        outputs = manifest.signature.outputs
        self._one_number = outputs[0] if manifest.task is Task.REGRESSION and outputs[0].width == 1 else None

    def make(self, place: Place, classes: Sequence[int], outputs: Sequence[Array]) -> str:
        """The id of one answer.

        Args:
            place: where its request belongs.
            classes: of the rows that take labels; NO_CLASS for a row without one.
            outputs: one array per output, [rows, ...].
        """
        # Distinct for 2^64 predictions (a Weyl sequence); what authenticates a token is its key.
        self._nonce = (self._nonce + _WEYL) & _NONCE_BITS
        signer = self._signers.get(place) or self._make_signer(place)
        numbers = () if self._one_number is None else self._numbers(outputs)
        return signer.sign(self._nonce, int(self._clock.now() * 1000), classes, numbers)

    def _numbers(self, outputs: Sequence[Array]) -> tuple[float, ...]:
        """What a regression with one number per row has predicted, for the rows that take labels."""
        assert self._one_number is not None  # noqa: S101 - for the type checker
        numbers = to_numbers(self._one_number.dtype, outputs[0].reshape(-1)[:MAX_ROWS])
        return tuple(numbers.astype("float32").tolist())

    def _make_signer(self, place: Place) -> Signer:
        if len(self._signers) >= _KEPT_SIGNERS:
            self._signers.clear()
        like = Prediction(
            nonce=0,
            time_ms=0,
            epoch=place.epoch,
            slice=place.slice_number,
            traffic=place.traffic_number,
            model=self._key.model,
            version=self._key.version,
            segment=place.segment,
            classes=(),
            cohort=place.cohort,
            caller=place.caller,
        )
        signer = self._signers[place] = self._keys.signer(like)
        return signer
