"""How a version answers in parts: its program is one step, and each step's outputs feed the next one's inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.strict_json import refuse, require
from crossfade.tensor_spec import TensorSpec

MAX_PARTS: Final = 1_000_000
"""The most steps that a version may declare."""


@dataclass(frozen=True, slots=True)
class Loop:
    """Declares a program as one step of many.

    Inputs that nothing feeds keep what the request gave; those that are fed, and that the request does not give, begin
    as zeros. A row ends at the first step whose `until` is not zero, and all rows at the last part that may be sent.

    Attributes:
        feeds: input of the next step by output of this one, as `{input: output}`; types and shapes are the same.
        parts: outputs that each part holds, in this order. The others are state and are not sent.
        max_parts: steps of the longest answer, at most 1,000,000; a request may ask for fewer.
        until: output with one truth or whole number per row, which ends the row unless it is zero; None: every row
            has `max_parts`.
    """

    feeds: Mapping[str, str]
    parts: Sequence[str]
    max_parts: int
    until: str | None = None

    def __post_init__(self) -> None:
        # One name is a sequence of letters.
        require(not isinstance(self.parts, str), "parts", f"must be a list of outputs, as in [{self.parts!r}]")
        # Callers write lists; what is compared and written is a tuple.
        object.__setattr__(self, "parts", tuple(self.parts))
        require(self.feeds, "feeds", "must name an input that an output feeds: without one every part is the same")
        require(self.parts, "parts", "must name an output to send")
        require(len(set(self.parts)) == len(self.parts), "parts", "names an output twice")
        require(0 < self.max_parts <= MAX_PARTS, "max_parts", f"must be 1 to {MAX_PARTS:,}")

    @property
    def state(self) -> tuple[str, ...]:
        """Inputs that are fed with what is not sent."""
        return tuple(sorted(name for name, source in self.feeds.items() if source not in self.parts))

    def check(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Refuses a loop that the program's tensors do not fit.

        Raises:
            FieldError: with the path of the field, as in the manifest.
        """
        taken, given = {spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs}
        for name, source in self.feeds.items():
            field = f"loop.feeds.{name}"
            if name not in taken:
                refuse(field, f"{name!r} is not one of the inputs {', '.join(taken)}")
            if source not in given:
                refuse(field, f"{source!r} is not one of the outputs {', '.join(given)}")
            one, other = taken[name], given[source]
            alike = (one.dtype, one.shape) == (other.dtype, other.shape)
            require(
                alike,
                field,
                f"input {name!r} is {one.dtype} {list(one.shape)}, and output {source!r}, which feeds it, "
                f"{other.dtype} {list(other.shape)}: both must be the same",
            )
        for name in self.parts:
            require(name in given, "loop.parts", f"{name!r} is not one of the outputs {', '.join(given)}")
        if self.until is not None:
            if self.until not in given:
                refuse("loop.until", f"{self.until!r} is not one of the outputs {', '.join(given)}")
            spec = given[self.until]
            require(
                not spec.dtype.is_float and spec.width == 1,
                "loop.until",
                f"{self.until!r} is {spec.dtype} {list(spec.shape)}: it must hold one truth or whole number per row",
            )
