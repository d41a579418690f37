"""Whether the callers of one version can use another."""

from collections.abc import Iterator

from registry.domain.records import Signature, TensorSpec
from services.common.errors import FailedPreconditionError


def differences(stable: Signature, new: Signature) -> tuple[str, ...]:
    """What a caller of the stable version would stumble over in the new one; empty: nothing.

    A dimension may become free (-1), an output may be added; everything else must stay: names, element types, shapes,
    the task and the classes in their order. What a version that answers in parts keeps from step to step is its own
    affair: callers send and get no state.
    """
    return tuple(_differences(stable, new))


def _differences(stable: Signature, new: Signature) -> Iterator[str]:
    sent = tuple(spec for spec in stable.inputs if spec.name not in stable.state)
    yield from _tensors("input", sent, new.inputs)
    known = {spec.name for spec in sent}
    for spec in new.inputs:
        if spec.name not in known and spec.name not in new.state:
            yield f"input {spec.name} is new, and callers do not send it"
    got = tuple(spec for spec in stable.outputs if not stable.parts or spec.name in stable.parts)
    yield from _tensors("output", got, new.outputs)
    for name in stable.parts:
        if name not in new.parts:
            yield f"output {name} was sent part by part and is not any more"
    if stable.task != new.task:
        yield f"the task was {stable.task} and is {new.task}"
    if stable.classes != new.classes:
        yield f"the classes were {_list(stable.classes)} and are {_list(new.classes)}"


def _tensors(kind: str, stable: tuple[TensorSpec, ...], new: tuple[TensorSpec, ...]) -> Iterator[str]:
    by_name = {spec.name: spec for spec in new}
    for old in stable:
        spec = by_name.get(old.name)
        if spec is None:
            yield f"{kind} {old.name} is gone"
            continue
        if spec.datatype != old.datatype:
            yield f"{kind} {old.name} was {old.datatype} and is {spec.datatype}"
        if not _fits(old.shape, spec.shape):
            yield f"{kind} {old.name} had the shape {list(old.shape)} and has {list(spec.shape)}"


def _fits(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return len(old) == len(new) and all(b in (a, -1) for a, b in zip(old, new, strict=True))


def _list(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
    return f"[{shown}]"


def check_compatible(version: str, stable_version: str, stable: Signature, new: Signature) -> None:
    """Refuses a version that the lane's callers could not use.

    Raises:
        FailedPreconditionError: SIGNATURE_INCOMPATIBLE, with what differs.
    """
    found = differences(stable, new)
    if found:
        raise FailedPreconditionError(
            "SIGNATURE_INCOMPATIBLE",
            f"callers of {stable_version} could not use {version}: {'; '.join(found)}. "
            "If they are prepared for it, repeat with allow_incompatible",
            stable_version=stable_version,
        )
