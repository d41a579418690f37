"""Inputs of numpy's own default types, float64 and int64, as the type that a model's input takes.

A client does not know a model's signature, and asks nobody: the refusal of a first call says what the input takes.
The call is made again with it, and later calls begin with it. Arrays of other types were chosen by somebody, and are
sent as they are.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy import ma

from crossfade import bfloat16, codec
from crossfade.codec import BF16, DTYPES, Array
from crossfade.predict.v1 import predict_pb2

Inputs = npt.ArrayLike | Mapping[str, npt.ArrayLike]
"""One array, for a model with one input (named "input"), or arrays by input name; the first dimension is the batch."""

WRONG_TYPE: Final = "INPUT_DTYPE"
"""The reason of a refusal for an input's type."""
_DEFAULTS: Final = (np.dtype(np.float64), np.dtype(np.int64))


class InputTypes:
    """What the inputs of models take, by model and input, as far as refusals have said it. Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def fitted(self, model: str, name: str, array: Array) -> tuple[Array, bool]:
        """The array as its input takes it, and whether that is bfloat16; as it is, where it cannot be it, or what that
        is is not known."""
        wanted = self._known.get((model, name), "")
        fitting = _fitting(array, wanted)
        return (array, False) if fitting is None else (fitting, wanted == BF16)

    def learn(self, model: str, name: str, wanted: str) -> None:
        """Notes the type that an input takes; a later version's may differ, whose refusal then says so."""
        self._known[model, name] = wanted


class Asked:
    """One call's request.

    Attributes:
        message: what is to be sent.

    Args:
        types: what earlier calls have learnt.
        model: the model's id.
        inputs: see `Client.predict`.
        request_id: echoed in the answer.
        max_parts: of a stream: so many parts at most.

    Raises:
        TypeError: a name is no text, an array's element type is none of the protocol's, or some of its values are
            masked.
    """

    def __init__(
        self, types: InputTypes, model: str, inputs: Inputs, *, request_id: str = "", max_parts: int | None = None
    ) -> None:
        named = inputs if isinstance(inputs, Mapping) else {"input": inputs}
        require_texts(model=model, request_id=request_id)
        for name in named:
            if not isinstance(name, str):
                raise TypeError(f"input name {name!r} is no text: give arrays by the names of the model's inputs")
        self._given = {name: _unmasked(name, array) for name, array in named.items()}
        self._types = types
        self._model = model
        self._request_id = request_id
        self._max_parts = max_parts
        # A refusal names one input, and the next try may reach a version that differs; but not for ever.
        self._left = 2 * len(self._given)
        self.message = self._encoded()

    def corrected(self, reason: str, said: Mapping[str, str]) -> bool:
        """Whether `message` now has what was refused in the type that its input takes.

        Args:
            reason: of the refusal.
            said: its facts.
        """
        name, wanted = said.get("input", ""), said.get("datatype", "")
        if reason != WRONG_TYPE or name not in self._given or not self._left:
            return False
        if _fitting(self._given[name], wanted) is None:
            return False
        self._left -= 1
        self._types.learn(self._model, name, wanted)
        self.message = self._encoded()
        return True

    def _encoded(self) -> predict_pb2.PredictRequest:
        fitted = {name: self._types.fitted(self._model, name, array) for name, array in self._given.items()}
        return codec.encode_request(
            self._model,
            {name: array for name, (array, _) in fitted.items()},
            request_id=self._request_id,
            max_parts=self._max_parts,
            bf16=[name for name, (_, short) in fitted.items() if short],
        )


def require_texts(**said: object) -> None:
    """Refuses by its name what protobuf would refuse without one.

    Raises:
        TypeError: one is no text.
    """
    for name, value in said.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} {value!r} is no text: give a str")


def advice(reason: str, said: Mapping[str, str]) -> str:
    """What to do about a refusal for an input's type; empty: it is another refusal, or does not say."""
    datatype = said.get("datatype", "") if reason == WRONG_TYPE else ""
    # The client makes bfloat16 of it.
    wanted = DTYPES.get("FP32" if datatype == BF16 else datatype)
    return "" if wanted is None else f"send {said.get('input') or 'it'} as X.astype({str(wanted)!r})"


def _unmasked(name: str, given: Any) -> Array:
    # numpy loads `np.ma` when it is first asked for, and a child that is forked meanwhile waits for ever when it asks.
    if ma.is_masked(given):
        # As a plain array it would be sent with whatever lies under the mask.
        raise TypeError(f"input {name!r} has masked values, which no request can hold: give array.filled(...) of it")
    return np.asarray(given)


def _fitting(array: Array, datatype: str) -> Array | None:
    """The array in another type; None: it is of a type that somebody chose, or would become something else."""
    wanted = np.dtype(np.float32) if datatype == BF16 else DTYPES.get(datatype)
    if wanted is None:
        return None
    if array.dtype == wanted and datatype != BF16:
        return array
    # Without bfloat16 in numpy nobody can choose it: float32 is the type that is nearest to it.
    # The order of bytes is a file's, and nobody's choice of a type.
    given = array.dtype.newbyteorder("=")
    chosen = given not in _DEFAULTS and not (datatype == BF16 and given == wanted)
    if chosen or wanted.kind not in ("f" if array.dtype.kind == "f" else "fiu"):
        return None
    if datatype != BF16:
        return converted(array, wanted)
    with np.errstate(all="ignore"):
        short = bfloat16.from_bits(bfloat16.to_bits(array))
    return short if _is_kept(array, short) else None


def converted(array: Array, wanted: np.dtype[Any]) -> Array | None:
    """The array in another type; None: it would become something else.

    Floats are rounded to floats. Whole numbers must stay what they are.
    """
    # Whole numbers beyond a float's are no error, and infinities that were none are seen.
    with np.errstate(all="ignore"):
        made = array.astype(wanted)
    return made if _is_kept(array, made) else None


def _is_kept(array: Array, made: Array) -> bool:
    if array.dtype.kind == "f":
        return np.array_equal(np.isfinite(array), np.isfinite(made))
    with np.errstate(all="ignore"):
        return np.array_equal(made.astype(array.dtype), array)
