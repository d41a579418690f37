"""The prediction id: a compact, authenticated token, so that feedback needs no store of past predictions.

Layout before base64url without padding: key id (1 byte), body, and 16 bytes of keyed BLAKE2s (RFC 7693) over both, its
key the SHA-256 of ours. The body, in network order: format (1 byte), nonce (8), time in ms (8), epoch (4), slice (4),
traffic (1), then model, version and segment each behind their length (1), then the number of rows (1) and each row's
class index (2), or, in the formats of regressions, each row's predicted number (4, IEEE 754). Two
more formats state, behind the traffic, the cohort of the routing key (1; 255: none) and the caller's segment behind its
length (1).
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

_FORMAT: Final = 2
_NUMBERS_FORMAT: Final = 3
"""Of regressions; releases that do not know it refuse what is reported of such predictions, so Routers go first."""
_TOLD_MORE: Final = 2
"""What is added to a format where the cohort or the caller is stated; older releases refuse labels of those."""
_NO_COHORT: Final = 255
_HEAD: Final = struct.Struct("!BBQQIIB")
_MOMENT: Final = struct.Struct("!BBQQ")
_PLACE: Final = struct.Struct("!IIB")
"""The two parts of the head."""
_CLASS: Final = struct.Struct("!BH")
_BITS: Final = 0xFFFFFFFF
_TAG_BYTES: Final = 16
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
MAX_ROWS: Final = 64
"""Rows whose predicted class a token states; later rows take no feedback."""
NO_CLASS: Final = 0xFFFF
"""Class index of a row without a predicted class (a regression)."""


class TokenError(ValueError):
    """The token was not made by a Worker with one of our keys."""


class Prediction(NamedTuple):
    """What a token states.

    Attributes:
        nonce: 64 bits that name the prediction: no other of its maker's process has them.
        time_ms: when it was made, milliseconds since 1970-01-01 UTC.
        epoch: the lane's epoch.
        slice: the slice within it.
        traffic: the number of `crossfade.common.v1.Traffic`.
        model: the model's id.
        version: the version's id.
        segment: the lane's segment.
        classes: predicted class index per row, at most 64 rows; NO_CLASS for a row without one.
        numbers: predicted number per row, for a regression; then all of `classes` are NO_CLASS.
        cohort: of the routing key, 0 to 49, in a lane that assigns by key; -1: in another.
        caller: the caller's segment, if a gate watches it by itself.
    """

    nonce: int
    time_ms: int
    epoch: int
    slice: int
    traffic: int
    model: str
    version: str
    segment: str
    classes: tuple[int, ...]
    numbers: tuple[float, ...] = ()
    cohort: int = -1
    caller: str = ""


class TokenKeys:
    """The keys of a deployment: one signs, all verify, so that keys can rotate.

    Args:
        keys: key id (0 to 255) to key (at least 16 bytes).
        signing: id of the key that signs.

    Raises:
        ValueError: no key, a short one, or an unknown id.
    """

    def __init__(self, keys: Mapping[int, bytes], signing: int) -> None:
        if signing not in keys:
            raise ValueError(f"the signing key {signing} is not among the keys {sorted(keys)}")
        for number, key in keys.items():
            if not 0 <= number <= 255 or len(key) < 16:
                raise ValueError(f"token key {number}: ids are 0 to 255 and keys at least 16 bytes")
        # Hashed, since BLAKE2s takes no key of more than 32 bytes.
        self._keys = {number: hashlib.sha256(key).digest() for number, key in keys.items()}
        self._signing = signing

    @staticmethod
    def parse(text: str) -> "TokenKeys":
        """Reads a key file: a line `ID HEX` per key, the signing one first, '#' before comments.

        Raises:
            ValueError: a line has another form, or an id stands in two.
        """
        keys: dict[int, bytes] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                said, key = words
                number, octets = int(said), bytes.fromhex(key)
            except ValueError as error:
                raise ValueError(
                    "a token key's line is `ID HEX`, as in `1 00112233445566778899aabbccddeeff`"
                ) from error
            if number in keys:
                raise ValueError(f"token key {number} stands in two lines: give each key an id of its own")
            keys[number] = octets
        if not keys:
            raise ValueError("the file holds no token key; write a line `ID HEX`")
        return TokenKeys(keys, next(iter(keys)))

    def sign(self, prediction: Prediction) -> str:
        """The token of a prediction, in printable ASCII."""
        return self.signer(prediction).sign(
            prediction.nonce, prediction.time_ms, prediction.classes, prediction.numbers
        )

    def signer(self, like: Prediction) -> "Signer":
        """Signs predictions that differ from this one in nonce, time, classes and numbers alone."""
        return Signer(self._signing, self._keys[self._signing], like)

    def verify(self, token: str) -> Prediction:
        """Reads a token.

        Raises:
            TokenError: it is damaged, forged, or made with a key that is not here.
        """
        try:
            raw = base64.b64decode(token.encode() + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError, ValueError) as error:
            raise TokenError("the prediction id is not one of ours: it is not base64url") from error
        if len(raw) <= _TAG_BYTES + _HEAD.size or raw[0] not in self._keys:
            raise TokenError("the prediction id is not one of ours: it is too short or its key is unknown")
        signed, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(raw[0], signed)):
            raise TokenError("the prediction id is forged, damaged, or of another deployment")
        return _unpack(signed)

    def _tag(self, number: int, signed: bytes) -> bytes:
        return hashlib.blake2s(signed, digest_size=_TAG_BYTES, key=self._keys[number]).digest()


class Signer:
    """Signs predictions of one version in one place, whose tokens are alike but for little: that is laid out once.

    Args:
        number: the key's id.
        key: the key.
        like: a prediction of that version in that place.
    """

    def __init__(self, number: int, key: bytes, like: Prediction) -> None:
        told_more = like.cohort >= 0 or bool(like.caller)
        more = _TOLD_MORE if told_more else 0
        self._number = number
        self._formats = (_FORMAT + more, _NUMBERS_FORMAT + more)
        parts = [_PLACE.pack(like.epoch & _BITS, like.slice & _BITS, like.traffic)]
        if told_more:
            parts += (bytes((like.cohort if like.cohort >= 0 else _NO_COHORT,)), _named(like.caller))
        self._same = b"".join((*parts, _named(like.model), _named(like.version), _named(like.segment)))
        self._hash = hashlib.blake2s(digest_size=_TAG_BYTES, key=key)

    def sign(self, nonce: int, time_ms: int, classes: Sequence[int], numbers: Sequence[float] = ()) -> str:
        """The token of a prediction; see `Prediction`."""
        rows = min(len(classes), MAX_ROWS)
        if numbers:
            head = _MOMENT.pack(self._number, self._formats[1], nonce, time_ms)
            signed = head + self._same + struct.pack(f"!B{rows}f", rows, *numbers[:rows])
        else:
            head = _MOMENT.pack(self._number, self._formats[0], nonce, time_ms)
            said = _CLASS.pack(1, classes[0]) if rows == 1 else struct.pack(f"!B{rows}H", rows, *classes[:rows])
            signed = head + self._same + said
        tag = self._hash.copy()
        tag.update(signed)
        return binascii.b2a_base64(signed + tag.digest(), newline=False).translate(_URL_SAFE, b"=").decode()


def _named(name: str) -> bytes:
    text = name.encode()
    return bytes((len(text),)) + text


def _unpack(signed: bytes) -> Prediction:
    _, version, nonce, time_ms, epoch, slice_, traffic = _HEAD.unpack_from(signed)
    if not _FORMAT <= version <= _NUMBERS_FORMAT + _TOLD_MORE:
        known = f"{_FORMAT} to {_NUMBERS_FORMAT + _TOLD_MORE}"
        raise TokenError(f"the prediction id has format {version}; this release reads formats {known}")
    position = _HEAD.size
    cohort, caller = -1, ""
    if version > _NUMBERS_FORMAT:
        version -= _TOLD_MORE
        cohort = signed[position] if signed[position] != _NO_COHORT else -1
        begin = position + 2
        position = begin + signed[position + 1]
        caller = signed[begin:position].decode()
    texts = []
    for _ in range(3):
        length = signed[position]
        texts.append(signed[position + 1 : position + 1 + length].decode())
        position += 1 + length
    rows = signed[position]
    if version == _NUMBERS_FORMAT:
        numbers: tuple[float, ...] = struct.unpack_from(f"!{rows}f", signed, position + 1)
        none = (NO_CLASS,) * rows
        return Prediction(
            nonce, time_ms, epoch, slice_, traffic, texts[0], texts[1], texts[2], none, numbers, cohort, caller
        )
    classes = struct.unpack_from(f"!{rows}H", signed, position + 1)
    return Prediction(nonce, time_ms, epoch, slice_, traffic, texts[0], texts[1], texts[2], classes, (), cohort, caller)
