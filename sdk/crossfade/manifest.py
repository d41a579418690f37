"""The manifest of an artifact: `model.json`.

It lists every other file of the artifact with its SHA-256 and size, so that the SHA-256 of its own bytes (the
version's digest) fixes the whole artifact, as an OCI image manifest does. Reading is strict: a field that is
missing, unknown or of another type is refused with its path, e.g. `profile.features[3].edges`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from crossfade.architecture import Architecture
from crossfade.loop import Loop
from crossfade.name_checks import check_label, check_unique
from crossfade.reference_profile import Profile
from crossfade.strict_json import FieldError, decode, encode, parse, refuse, require
from crossfade.tensor_spec import BATCH, Signature

MANIFEST_FILE = "model.json"
SIGNATURE_FILE = "model.sig"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_CLASSES = 65_535
"""An answer's prediction id says the class of each row by a number of 16 bits, of which one stands for none."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(ValueError):
    """The manifest can't be used; the message names the field and what is wrong with it."""


class Task(StrEnum):
    """What the outputs mean; it decides which quality gates apply."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    OTHER = "other"


class Kind(StrEnum):
    """How the model is stored."""

    TORCH_EXPORT = "torch.export"
    SAFETENSORS = "safetensors"

    @property
    def format_version(self) -> int:
        """The manifest's format: the first that has this kind, so that older releases refuse nothing that they read."""
        return 1 if self is Kind.TORCH_EXPORT else 2


_FORMATS = sorted({kind.format_version for kind in Kind})


class Precision(StrEnum):
    """What a program runs in: `auto` is mixed precision on CUDA where it agrees and is faster."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class NanPolicy(StrEnum):
    """What becomes of requests whose inputs hold NaN or infinities: the model answers them, or they are refused."""

    PROPAGATE = "propagate"
    RAISE = "raise"


@dataclass(frozen=True, slots=True)
class Golden:
    """The file of golden inputs and outputs, and how many rows it has."""

    file: str
    rows: int

    def __post_init__(self) -> None:
        require(self.rows > 0, "rows", "must be positive")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Outputs agree where abs(got - expected) <= atol + rtol * abs(expected).

    `atol_of` has the atol of those outputs, by name, whose values are of another size: what is a rounding error of a
    price is more than any probability beside it.
    """

    rtol: float
    atol: float
    atol_of: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        require(self.rtol >= 0, "rtol", "must not be negative")
        require(self.atol >= 0, "atol", "must not be negative")
        for name, atol in (self.atol_of or {}).items():
            require(atol >= 0, f"atol_of.{name}", "must not be negative")

    def for_output(self, name: str) -> float:
        """The atol of one output."""
        return (self.atol_of or {}).get(name, self.atol)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the artifact: plain name, SHA-256 in lower-case hex, size in bytes."""

    path: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        require(_PLAIN_NAME.fullmatch(self.path), "path", f"{self.path!r} is no plain file name")
        require(self.path != MANIFEST_FILE, "path", "the manifest can't list itself")
        require(self.path != SIGNATURE_FILE, "path", "the signature is no part of what it signs")
        require(_SHA256.fullmatch(self.sha256), "sha256", "must be 64 lower-case hex digits")
        require(self.size >= 0, "size", "must not be negative")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `model.json` says.

    `torch` is the version of torch that wrote the program; `program` is the file of the program, or of the weights.
    `architecture` is what the weights are for, and null for a program; `by_name` says that its module takes inputs by
    their names, and not by their positions. `max_batch` bounds the batch dimension. `scores` names the output with a
    score per class (logits or probabilities, [-1, classes]): the predicted class is its argmax. `classes`,
    `positive_class` and `scores` are null unless `task` is classification; `profile` is null where the model was
    packaged without reference data. `precision` is what the program is to run in; `auto` leaves it to the Worker.
    `loop` declares the program as one step of a version that answers in parts; null: it answers at once. `nan_policy`
    says whether requests with NaN or infinities are for the program.
    """

    format_version: int
    created_by: str
    kind: Kind
    torch: str
    program: str
    task: Task
    signature: Signature
    max_batch: int
    classes: tuple[str, ...] | None
    positive_class: str | None
    scores: str | None
    profile: Profile | None
    golden: Golden
    tolerance: Tolerance
    files: tuple[FileEntry, ...]
    precision: Precision = Precision.AUTO
    architecture: Architecture | None = None
    by_name: bool = False
    loop: Loop | None = None
    nan_policy: NanPolicy = NanPolicy.PROPAGATE

    def __post_init__(self) -> None:
        expected = self.kind.format_version
        require(self.format_version == expected, "format_version", f"must be {expected} for the kind {self.kind}")
        check_label("created_by", self.created_by)
        check_label("torch", self.torch)
        require(self.max_batch > 0, "max_batch", "must be positive")
        check_unique("files", (entry.path for entry in self.files))
        paths = {entry.path for entry in self.files}
        for field, path in (("program", self.program), ("golden.file", self.golden.file)):
            require(path in paths, field, f"{path!r} is not among the files")
        self._check_architecture()
        self._check_classes()
        self._check_profile()
        self._check_tolerance()
        if self.loop is not None:
            self.loop.check(self.signature.inputs, self.signature.outputs)

    def _check_architecture(self) -> None:
        if self.kind is Kind.SAFETENSORS:
            require(self.architecture, "architecture", "weights need the architecture that they are for")
            return
        require(self.architecture is None, "architecture", f"must be null for the kind {self.kind}")
        require(not self.by_name, "by_name", f"must be false for the kind {self.kind}")

    def _check_classes(self) -> None:
        if self.task is not Task.CLASSIFICATION:
            for field in ("classes", "positive_class", "scores"):
                require(getattr(self, field) is None, field, f"must be null for the task {self.task}")
            return
        if self.classes is None:
            refuse("classes", "a classification needs its class names")
        require(len(self.classes) > 1, "classes", "at least two are needed")
        several = f'there are {len(self.classes):,}, and at most {MAX_CLASSES:,} are told apart: use task="other"'
        require(len(self.classes) <= MAX_CLASSES, "classes", several)
        for name in self.classes:
            check_label("classes", name)
        check_unique("classes", self.classes)
        if self.positive_class is not None:
            require(self.positive_class in self.classes, "positive_class", "is not one of the classes")
        scores = [spec for spec in self.signature.outputs if spec.name == self.scores]
        require(scores, "scores", f"{self.scores!r} is not one of the outputs")
        expected = (BATCH, len(self.classes))
        require(scores[0].shape == expected, "scores", f"its shape must be {list(expected)}, one column per class")

    def _check_tolerance(self) -> None:
        outputs = {spec.name for spec in self.signature.outputs}
        for name in self.tolerance.atol_of or ():
            require(name in outputs, f"tolerance.atol_of.{name}", "is not one of the outputs")

    def _check_profile(self) -> None:
        if self.profile is None:
            return
        profiled = [spec for spec in self.signature.inputs if spec.name == self.profile.input]
        require(profiled, "profile.input", f"{self.profile.input!r} is not one of the inputs")
        inside = all(feature.index < profiled[0].width for feature in self.profile.features)
        require(inside, "profile.features", f"an index is beyond the {profiled[0].width} elements of the input")
        known = set(self.profile.classes or ()) <= set(self.classes or ())
        require(known, "profile.classes", "has a class that the model does not have")


def loads(data: bytes) -> Manifest:
    """Parse the bytes of `model.json`.

    Raises ManifestError with the line or the field at fault; a `format_version` that this release does not know
    is named before anything else is looked at.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{MANIFEST_FILE}: it has {len(data)} bytes; at most {MAX_MANIFEST_BYTES} are read")
    try:
        value = parse(data)
        version = value.get("format_version")
        if version not in _FORMATS or isinstance(version, bool):
            refuse("format_version", _version_problem(version))
        return decode(Manifest, value)
    except FieldError as error:
        raise ManifestError(f"{MANIFEST_FILE}: {error}") from error


def dumps(manifest: Manifest) -> bytes:
    """The canonical bytes of `model.json`: sorted keys, no spaces, UTF-8, a newline at the end."""
    return encode(manifest) + b"\n"


def digest(data: bytes) -> str:
    """The digest of an artifact, from the bytes of its manifest: `sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _version_problem(version: object) -> str:
    if isinstance(version, int) and version > max(_FORMATS):
        return (
            f"{version} is newer than this crossfade reads ({max(_FORMATS)}): upgrade crossfade here,"
            " or package the model again with this release"
        )
    return f"must be {' or '.join(map(str, _FORMATS))}, not {version!r}: is this the manifest of an artifact?"
