"""What a module fails with, run or exported, and what to do about it."""

from crossfade.artifact.tensors import TensorError

_ON_CPU = "it is packaged on the CPU: make constants buffers (register_buffer), or make them on the input's device"
_ADVICE = {
    "cuda": _ON_CPU,
    # Said by torch's builds for CUDA where there is no GPU; those for CPUs name CUDA.
    "nvidia driver": _ON_CPU,
    "guard failed": "it was exported for one shape: export it with a dynamic batch, or give the module it was made of",
    "same dtype": "give each input in the type that it takes: X.astype('float32') where that is floats",
}
"""What to do about failures that say so little of it, by words in them."""


def export_problem(error: Exception) -> str:
    """Why torch refused to export a module, and what it probably takes."""
    text = str(error)
    if isinstance(error, TensorError):
        return text
    if any(words in text for words in ("Constraints violated", "specialized", "is invalid for input of size")):
        probably = "the code fixes the number of rows: use -1 or x.shape[0] in shapes, and no loop over rows"
    elif "data-dependent" in text:
        probably = "forward() branches on the values of a tensor: use torch.where instead of if"
    else:
        probably = "forward() must consist of torch operations that can be traced: no numpy, files or print of values"
    return f"torch.export refused the module: {first_line(error)}. Probably {probably}"


def advice(error: Exception) -> str:
    """What to do about a failure that says so little of it, as a sentence part."""
    text = str(error).lower()
    return next((f"; {said}" for words, said in _ADVICE.items() if words in text), "")


def first_line(error: Exception) -> str:
    """The first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
