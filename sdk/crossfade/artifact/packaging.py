"""`package`: from a torch module to an artifact on disk."""

import importlib.metadata
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from crossfade.architecture import Architecture, ArchitectureError
from crossfade.artifact.fitting import fit_profile
from crossfade.artifact.folder import (
    GOLDEN_FILE,
    PROGRAM_FILE,
    WEIGHTS_FILE,
    Arrays,
    Artifact,
    ArtifactError,
    file_entry,
    numpy_dtype,
    staged,
    verify,
    write_golden,
)
from crossfade.artifact.meaning import MeaningError, infer_meaning
from crossfade.artifact.profiled import (
    Inputs,
    profile_of_reference,
    profiled_input,
    refuse_beside_profile,
    refuse_without_reference,
)
from crossfade.connection import MESSAGE_LIMIT
from crossfade.loop import Loop
from crossfade.manifest import MANIFEST_FILE, Golden, Kind, Manifest, NanPolicy, Precision, Task, Tolerance, dumps
from crossfade.profile import ProfileError
from crossfade.profiling.profile_file import ProfileFile, read_profile
from crossfade.strict_json import FieldError
from crossfade.tensor_spec import DType, Signature

if TYPE_CHECKING:
    import torch

    from crossfade.artifact.exporting import ExportableModel
    from crossfade.artifact.tensors import Tensors

DEFAULT_GOLDEN_ROWS = 8
DEFAULT_MAX_BATCH = 1024

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


class PackageError(ArtifactError):
    """The model can't be packaged; the message says what to change."""


def package(
    module: "torch.nn.Module",
    *,
    example: Inputs,
    to: str | Path,
    reference: Inputs | None = None,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    task: Task | str | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    features: Sequence[int | str] | None = None,
    categorical: Sequence[int | str] = (),
    profile_input: str | None = None,
    profile: ProfileFile | str | Path | None = None,
    golden: int | Inputs = DEFAULT_GOLDEN_ROWS,
    tolerance: Tolerance | None = None,
    max_batch: int = DEFAULT_MAX_BATCH,
    precision: Precision | str = Precision.AUTO,
    nan_policy: NanPolicy | str = NanPolicy.PROPAGATE,
    architecture: Architecture | None = None,
    loop: Loop | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Export `module` with a dynamic batch dimension and write it as an artifact into the folder `to`.

    With an `architecture` nothing is exported: the artifact holds the module's weights alone, for Workers that have
    this architecture and allow it.

    Inputs (`example`, `reference`, golden rows) are one array, tensor or table [rows, ...], or a tuple, list or
    dict of several; a dict's keys are the names of forward's parameters. Arrays of float64 become the module's own
    type. The module is left as it is: a copy of it, in evaluation mode on the CPU, is packaged.

    Args:
        module: any module that torch.export can trace and whose answer for a row depends on that row alone. With an
            architecture it need not be traced.
        example: rows that show types and shapes.
        to: the new folder; it appears at once and whole.
        reference: training inputs, for the reference profile; without it, or `profile`, drift of the inputs can't
            be judged. At most 20,000 rows of it are used, drawn evenly.
        labels: training labels, whole numbers or class names: they say the task and its classes.
        classes: class names, in the order of the columns of the class scores.
        positive: the class that precision, recall and F1 are about.
        task: "classification", "regression" or "other"; inferred by default.
        input_names: names of inputs given by position; by default `input`, or the names of forward's parameters.
        output_names: by default `output`, `output_0`..., or the keys of a dict.
        feature_names: a name per column of the profiled input, flattened; by default a table's column names.
        features: at most 64 columns to profile, by name or position; by default all, or 64 evenly spaced ones.
        categorical: columns whose values are categories, by name or position.
        profile_input: the input to profile; by default the first one of floats, in a loop of those that nothing feeds.
        profile: instead of `reference`, what `crossfade profile --to` wrote, or its path. It is checked against the
            input; `features` and `categorical` were chosen when it was made.
        golden: how many rows of `example` become golden rows, or the golden rows themselves.
        tolerance: how far answers may be from the golden ones, in mixed precision too; by default 1 % of each
            value plus 1 % of the largest of the same output.
        max_batch: upper bound of the batch dimension.
        precision: "fp32", "bf16" or "fp16" is what Workers run it in, if its answers agree with the golden ones; with
            "auto" each Worker decides.
        nan_policy: "raise" has Workers refuse requests whose inputs hold NaN or infinities; with "propagate" the model
            answers them, as one does that knows missing values.
        architecture: what builds a module that takes these weights: a name that an installed package declares in the
            group `crossfade.architectures`, and its config. Built here with the weights, it must answer like `module`.
        loop: `module` is one step of a model that answers in parts: what feeds the next step, and what is sent.
        overwrite: replace an artifact that stands at `to`.

    Raises:
        PackageError: with what to change.
    """
    # Importing torch takes seconds, and verifying needs none.
    import torch

    from crossfade.artifact.exporting import ExportableModel, ExportError
    from crossfade.artifact.tensors import TensorError, answered_rows

    runs_in = _chosen("precision", precision, Precision)
    policy = _chosen("nan_policy", nan_policy, NanPolicy)
    try:
        # Before the model is exported, which takes seconds.
        if profile is not None:
            refuse_beside_profile(reference, features, categorical)
        elif reference is None:
            refuse_without_reference(
                feature_names=feature_names,
                features=features,
                categorical=categorical or None,
                profile_input=profile_input,
            )
        with staged(Path(to), overwrite=overwrite) as folder:
            model = ExportableModel(module, example, input_names, output_names)
            signature = model.signature
            if loop is not None:
                loop.check(signature.inputs, signature.outputs)
            _check_room(signature, loop)
            meaning = infer_meaning(signature.outputs, task=task, labels=labels, classes=classes, positive=positive)
            golden_inputs = model.golden_inputs(golden)
            golden_outputs = model.checked_answer(golden_inputs)
            kind, file_name = _store_program(
                model,
                folder,
                architecture,
                golden_inputs=golden_inputs,
                golden_outputs=golden_outputs,
                max_batch=max_batch,
            )
            golden_rows = answered_rows(golden_inputs, golden_outputs)
            write_golden(folder / GOLDEN_FILE, golden_rows)
            made = None
            if profile is not None:
                file = profile if isinstance(profile, ProfileFile) else read_profile(Path(profile))
                profiled = profiled_input(signature, profile_input or file.input, loop)
                made = fit_profile(file, profiled, meaning.classes, feature_names)
            elif reference is not None:
                made = profile_of_reference(
                    model,
                    reference,
                    profiled_input(signature, profile_input, loop),
                    meaning,
                    names=feature_names,
                    features=features,
                    categorical=categorical,
                )
            manifest = Manifest(
                format_version=kind.format_version,
                created_by=f"crossfade {importlib.metadata.version('crossfade')}",
                kind=kind,
                torch=str(torch.__version__),
                program=file_name,
                task=meaning.task,
                signature=signature,
                max_batch=max_batch,
                classes=meaning.classes,
                positive_class=meaning.positive_class,
                scores=meaning.scores,
                profile=made,
                golden=Golden(GOLDEN_FILE, golden_rows.count),
                tolerance=tolerance or _default_tolerance(golden_rows.outputs),
                files=(file_entry(folder / GOLDEN_FILE), file_entry(folder / file_name)),
                precision=runs_in,
                architecture=architecture,
                by_name=architecture is not None and model.by_name,
                loop=loop,
                nan_policy=policy,
            )
            (folder / MANIFEST_FILE).write_bytes(dumps(manifest))
    except (
        ArtifactError,
        ArchitectureError,
        ExportError,
        TensorError,
        MeaningError,
        ProfileError,
        FieldError,
    ) as error:
        raise PackageError(str(error)) from error
    except OSError as error:
        raise PackageError(f"{to} can't be written: {error.strerror or error}; choose another folder") from error
    return verify(to)


def _store_program(
    model: "ExportableModel",
    folder: Path,
    architecture: Architecture | None,
    *,
    golden_inputs: "Tensors",
    golden_outputs: "Tensors",
    max_batch: int,
) -> tuple[Kind, str]:
    """Writes what Workers run: the exported program, or the weights alone; answers its kind and its file's name.

    Raises:
        ExportError: with what to change.
        ArchitectureError: likewise.
    """
    if architecture is None:
        model.export(folder / PROGRAM_FILE, golden_inputs, golden_outputs, max_batch)
        return Kind.TORCH_EXPORT, PROGRAM_FILE
    model.store_weights(folder / WEIGHTS_FILE, architecture, golden_inputs, golden_outputs, max_batch)
    return Kind.SAFETENSORS, WEIGHTS_FILE


def _check_room(signature: Signature, loop: Loop | None) -> None:
    """Refuses rows that no call could carry, which the first one would find out."""
    # What feeds itself is not sent. A caller may ask for one output alone.
    given = [spec for spec in signature.inputs if loop is None or spec.name not in loop.feeds]
    sent = {
        f"the output {spec.name!r}": [spec] for spec in signature.outputs if loop is None or spec.name in loop.parts
    }
    for what, specs in {"the inputs": given, **sent}.items():
        size = sum(spec.width * (2 if spec.dtype is DType.BF16 else numpy_dtype(spec.dtype).itemsize) for spec in specs)
        if size > MESSAGE_LIMIT:
            raise PackageError(
                f"a row of {what} has {size:,} bytes, and a call carries {MESSAGE_LIMIT:,}: make it smaller (uint8 or "
                "float16 instead of float32, or fewer elements)"
            )


def _chosen(field: str, name: str, known: type[ChoiceT]) -> ChoiceT:
    try:
        return known(name)
    except ValueError as error:
        raise PackageError(f"{field}: {name!r} is not known: {', '.join(known)} are") from error


def _default_tolerance(outputs: Arrays) -> Tolerance:
    atols = {
        name: float(f"{0.01 * np.abs(output.astype(np.float64)).max(initial=0):.2g}")
        for name, output in outputs.items()
    }
    largest = max(atols.values())
    # Of an output that was all zeros nobody knows how large it gets.
    others = {name: atol for name, atol in atols.items() if 0 < atol < largest}
    return Tolerance(rtol=0.01, atol=largest, atol_of=others or None)
