"""What a model's outputs mean: its task, its class names and the output that holds a score per class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossfade.manifest import Task
from crossfade.name_checks import some
from crossfade.tensor_spec import TensorSpec


class MeaningError(ValueError):
    """What was said about the outputs does not fit them; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The manifest's fields of the same names."""

    task: Task
    classes: tuple[str, ...] | None
    positive_class: str | None
    scores: str | None


def infer_meaning(
    outputs: Sequence[TensorSpec],
    *,
    task: Task | str | None,
    labels: ArrayLike | None,
    classes: Sequence[str] | None,
    positive: str | None,
) -> Meaning:
    """Fill in what was not said.

    Class names, a positive class, or labels that are whole numbers or texts make it a classification; else one
    column of floats is a regression; else the task is "other". Class names come from `classes`, from labels that
    are texts (sorted), or are "0" to "k-1" after the k columns of the scores.

    Raises:
        MeaningError: the outputs have no column per class, or the positive class is not one of the classes.
    """
    known = _label_values(labels)
    # An encoder's own are an array.
    classes = None if classes is None else tuple(str(name) for name in classes)
    named = classes is not None or positive is not None
    if task is None:
        task = Task.CLASSIFICATION if named or known.dtype.kind in "iubUS" else _task_of(outputs)
        if task is Task.OTHER and known.size:
            raise MeaningError(
                "labels: floats say no classes: give whole numbers (labels.astype(int)) or the classes' names; for "
                'numbers that are no classes leave them out, and pass task="regression" or task="other"'
            )
    elif task not in set(Task):
        raise MeaningError(f"task: {task!r} is not one of {', '.join(Task)}")
    task = Task(task)
    if task is not Task.CLASSIFICATION:
        if named:
            raise MeaningError(f"classes and positive belong to a classification, but the task is {task}")
        return Meaning(task, None, None, None)
    if classes is None and known.dtype.kind in "US":
        classes = tuple(str(name) for name in known)
    scores = _scores(outputs, classes)
    names = classes or tuple(str(number) for number in range(scores.shape[1]))
    if known.dtype.kind in "iu" and known.size and not 0 <= known[0] <= known[-1] < len(names):
        raise MeaningError(f"labels: {known[0]} to {known[-1]} are no numbers of the {len(names)} classes")
    if positive is not None and positive not in names:
        raise MeaningError(f"positive: {positive!r} is not one of the classes {some(names)}")
    return Meaning(task, names, positive, scores.name)


def _label_values(labels: ArrayLike | None) -> NDArray[np.generic]:
    if labels is None:
        return np.zeros(0)
    values = np.asarray(labels)
    if values.dtype == np.object_:
        if any(map(_is_missing, values.ravel())):
            raise MeaningError("labels: some are missing: leave those rows out")
        values = values.astype(np.str_)
    return np.unique(values)


def _is_missing(label: object) -> bool:
    # pandas has values of its own for it, which are neither true nor false.
    return (
        label is None
        or type(label).__name__ in {"NAType", "NaTType"}
        or (isinstance(label, float) and math.isnan(label))
    )


def _task_of(outputs: Sequence[TensorSpec]) -> Task:
    one_column = len(outputs) == 1 and outputs[0].dtype.is_float and outputs[0].shape[1:] in {(), (1,)}
    return Task.REGRESSION if one_column else Task.OTHER


def _scores(outputs: Sequence[TensorSpec], classes: Sequence[str] | None) -> TensorSpec:
    tables = [spec for spec in outputs if spec.dtype.is_float and len(spec.shape) == 2 and spec.shape[1] > 1]
    fitting = [spec for spec in tables if classes is None or spec.shape[1] == len(classes)]
    if fitting:
        return fitting[0]
    shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in outputs)
    wanted = "a column per class" if classes is None else f"{len(classes)} columns, one per class"
    raise MeaningError(
        f"a classification needs an output of floats with {wanted}, but the outputs are {shapes}. A binary"
        " classifier with one column must return two (stack 1 - p and p); for numbers that are no classes pass"
        ' task="regression" or task="other"'
    )


def class_shares(meaning: Meaning, outputs: Mapping[str, NDArray[Any]]) -> dict[str, float] | None:
    """The proportion of each predicted class, the argmax of the scores; None where the task has no classes.

    Rows with scores that are not finite are left out.
    """
    if meaning.classes is None or meaning.scores is None:
        return None
    scores = outputs[meaning.scores]
    scores = scores[np.isfinite(scores).all(axis=1)]
    if not len(scores):
        return None
    counts = np.bincount(scores.argmax(axis=1), minlength=len(meaning.classes))
    return {name: round(float(share), 6) for name, share in zip(meaning.classes, counts / len(scores), strict=True)}


def predictions(meaning: Meaning, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """A regression's predictions; None for other tasks."""
    return next(iter(outputs.values())) if meaning.task is Task.REGRESSION else None
