import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.architecture import Architecture
from crossfade.manifest import (
    MAX_MANIFEST_BYTES,
    DType,
    FileEntry,
    Golden,
    Kind,
    Manifest,
    ManifestError,
    Precision,
    Signature,
    Task,
    TensorSpec,
    Tolerance,
    digest,
    dumps,
    loads,
)
from crossfade.reference_profile import Feature, FeatureKind, Profile

Change = Callable[[dict[str, Any]], None]


def _manifest() -> Manifest:
    features = (
        Feature("age", 0, FeatureKind.NUMERIC, (30.0, 50.5), (0.25, 0.5, 0.25), 0.0, 100.0),
        Feature("plan", 2, FeatureKind.CATEGORICAL, (1.0, 2.0), (0.7, 0.3, 0.0), None, None),
    )
    return Manifest(
        format_version=1,
        created_by="crossfade 0.1.0",
        kind=Kind.TORCH_EXPORT,
        torch="2.13.0+cpu",
        program="program.pt2",
        task=Task.CLASSIFICATION,
        signature=Signature(
            inputs=(TensorSpec("input", DType.FP32, (-1, 3)),),
            outputs=(TensorSpec("output", DType.FP32, (-1, 2)),),
        ),
        max_batch=1024,
        classes=("keep", "churn"),
        positive_class="churn",
        scores="output",
        profile=Profile.of("input", 1000, features, {"keep": 0.8, "churn": 0.2}, None),
        golden=Golden("golden.npz", 8),
        tolerance=Tolerance(rtol=0.01, atol=0.05),
        files=(FileEntry("golden.npz", "0" * 64, 100), FileEntry("program.pt2", "a" * 64, 2000)),
    )


def _weights() -> Manifest:
    return dataclasses.replace(
        _manifest(),
        format_version=2,
        kind=Kind.SAFETENSORS,
        program="weights.safetensors",
        files=(FileEntry("golden.npz", "0" * 64, 100), FileEntry("weights.safetensors", "a" * 64, 2000)),
        architecture=Architecture("mlp", {"widths": [3, 8, 2], "rate": 0.5, "deep": {"on": True, "none": None}}),
        by_name=True,
    )


def _changed(change: Change, manifest: Manifest | None = None) -> bytes:
    value = json.loads(dumps(manifest or _manifest()))
    change(value)
    return json.dumps(value).encode()


def test_what_is_written_is_read_back_alike() -> None:
    manifest = _manifest()

    assert loads(dumps(manifest)) == manifest


def test_a_manifest_without_classes_and_profile_is_read_back_alike() -> None:
    regression = dataclasses.replace(
        _manifest(), task=Task.REGRESSION, classes=None, positive_class=None, scores=None, profile=None
    )

    assert loads(dumps(regression)) == regression


def test_bytes_are_canonical() -> None:
    data = dumps(_manifest())

    assert data.endswith(b"}\n")
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_names_beyond_ascii_are_written_as_utf8() -> None:
    named = dataclasses.replace(_manifest(), classes=("bleibt", "kündigt"), positive_class=None, profile=None)

    assert "kündigt".encode() in dumps(named)
    assert loads(dumps(named)) == named


def test_digest_is_the_sha256_of_the_bytes() -> None:
    assert digest(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_newer_format_says_to_upgrade() -> None:
    with pytest.raises(ManifestError, match=r"format_version: 3 is newer than this crossfade reads \(2\): upgrade"):
        loads(b'{"format_version": 3, "whatever": []}')


@pytest.mark.parametrize("version", ["0", "true", "1.5", '"1"', "null"])
def test_another_format_version_is_refused(version: str) -> None:
    with pytest.raises(ManifestError, match="format_version: must be 1 or 2"):
        loads(b'{"format_version": %s}' % version.encode())


def _set(path: str, value: object) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = manifest
        for key in parents:
            target = target[int(key)] if isinstance(target, list) else target[key]
        target[int(last) if isinstance(target, list) else last] = value

    return change


def _delete(key: str) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        del manifest[key]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_delete("task"), "task: missing"),
        (_set("colour", "red"), "colour: unknown field"),
        (_set("golden.colour", "red"), r"golden\.colour: unknown field"),
        (_set("max_batch", True), "max_batch: must be a whole number, not true"),
        (_set("max_batch", 1.0), "max_batch: must be a whole number, not 1.0"),
        (_set("max_batch", 0), "max_batch: must be positive"),
        (_set("kind", "onnx"), r"kind: \"onnx\" is not known here \(known: torch.export, safetensors\)"),
        (_set("format_version", 2), "format_version: must be 1 for the kind torch.export"),
        (_set("architecture", {"name": "mlp", "config": {}}), "architecture: must be null for the kind torch.export"),
        (_set("by_name", True), "by_name: must be false for the kind torch.export"),
        (_set("by_name", 1), "by_name: must be true or false, not 1"),
        (_set("task", "clustering"), "task: .*known: classification, regression, other"),
        (_set("created_by", ""), "created_by: .* 1 to 128 printable characters"),
        (_set("classes", "keep"), r"classes: must be a list, not \"keep\""),
        (_set("classes", ["keep"]), "classes: at least two"),
        (_set("classes", ["keep", "keep"]), "classes: keep occurs more than once"),
        (_set("classes", ["keep", "churn", "other"]), r"scores: its shape must be \[-1, 3\]"),
        (_set("classes", None), "classes: a classification needs its class names"),
        (_set("positive_class", "cat"), "positive_class: is not one of the classes"),
        (_set("scores", "logits"), "scores: 'logits' is not one of the outputs"),
        (_set("task", "regression"), "classes: must be null for the task regression"),
        (_set("program", "other.pt2"), "program: 'other.pt2' is not among the files"),
        (_set("golden.file", "gone.npz"), r"golden\.file: 'gone.npz' is not among the files"),
        (_set("golden.rows", 0), r"golden\.rows: must be positive"),
        (_set("tolerance.rtol", -0.1), r"tolerance\.rtol: must not be negative"),
        (_set("tolerance.atol", 1e999), "Infinity is no JSON number"),
        (_set("signature.inputs", []), r"signature\.inputs: must not be empty"),
        (_set("signature.inputs.0.dtype", "FLOAT"), r"signature\.inputs\[0\]\.dtype: .*known: BOOL, UINT8"),
        (_set("signature.inputs.0.shape", [8, 3]), r"signature\.inputs\[0\]\.shape: must begin with -1"),
        (_set("signature.inputs.0.shape", [-1, -1]), r"signature\.inputs\[0\]\.shape: sizes after the batch"),
        (_set("signature.inputs.0.shape", []), r"signature\.inputs\[0\]\.shape: must begin with -1"),
        (_set("signature.inputs.0.name", "a/b"), r"signature\.inputs\[0\]\.name: .* is no tensor name"),
        (_set("profile.input", "image"), r"profile\.id: does not belong to this content"),
        (_set("profile.rows", 999), r"profile\.id: does not belong to this content"),
        (_set("profile.features.0.edges", [50, 30]), r"profile\.features\[0\]\.edges: must rise strictly"),
        (_set("profile.features.0.edges", []), r"profile\.features\[0\]\.edges: must not be empty"),
        (_set("profile.features.0.edges", [30, "x"]), r"profile\.features\[0\]\.edges\[1\]: must be a number"),
        (_set("profile.features.0.edges", [30, False]), r"edges\[1\]: must be a number, not false"),
        (_set("profile.features.0.edges", [30, 40, 50]), r"profile\.features\[0\]\.proportions: must be one more"),
        (
            _set("profile.features.0.proportions", [0.2] * 5),
            r"profile\.features\[0\]\.proportions: .*with a missing bin",
        ),
        (_set("profile.features.0.proportions", [1, 1, 1]), r"proportions: must add up to 1, not 3"),
        (_set("profile.features.0.proportions", [-1, 1, 1]), r"proportions: must lie between 0 and 1"),
        (_set("profile.features.0.low", 31.0), r"features\[0\]\.low: must not lie above"),
        (_set("profile.features.0.low", None), r"features\[0\]\.low: low and high must be numbers"),
        (_set("profile.features.1.low", 1.0), r"features\[1\]\.low: low and high must be null"),
        (_set("profile.features.1.index", 0), r"profile\.features: index 0 occurs more than once"),
        (_set("profile.classes", {"keep": 0.5}), r"profile\.classes: must add up to 1"),
        (_set("files.0.size", -1), r"files\[0\]\.size: must not be negative"),
        (_set("files.0.sha256", "A" * 64), r"files\[0\]\.sha256: must be 64 lower-case"),
        (_set("files.1.path", "golden.npz"), "files: golden.npz occurs more than once"),
    ],
)
def test_a_fault_is_named_with_its_field(change: Change, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        loads(_changed(change))


@pytest.mark.parametrize("path", ["../program.pt2", "a/b", "a\\b", "/etc/passwd", "..", ".", "", ".hidden", "a\n", "é"])
def test_only_plain_file_names_are_accepted(path: str) -> None:
    with pytest.raises(ManifestError, match=r"files\[0\]\.path: .* is no plain file name"):
        loads(_changed(_set("files.0.path", path)))


def test_the_manifest_does_not_list_itself() -> None:
    with pytest.raises(ManifestError, match="can't list itself"):
        loads(_changed(_set("files.0.path", "model.json")))


def test_a_profile_must_fit_its_input() -> None:
    feature = Feature("far", 3, FeatureKind.NUMERIC, (0.5,), (0.5, 0.5), -1.0, 2.0)
    profile = Profile.of("input", 10, (feature,), None, None)

    with pytest.raises(ValueError, match="an index is beyond the 3 elements"):
        dataclasses.replace(_manifest(), profile=profile)
    with pytest.raises(ValueError, match="'image' is not one of the inputs"):
        dataclasses.replace(_manifest(), profile=Profile.of("image", 10, (), None, None))
    with pytest.raises(ValueError, match="a class that the model does not have"):
        dataclasses.replace(_manifest(), profile=Profile.of("input", 10, (), {"cat": 1.0}, None))


def test_a_profile_holds_at_most_64_features() -> None:
    features = tuple(Feature(f"f{i}", i, FeatureKind.NUMERIC, (0.5,), (0.5, 0.5), -1.0, 2.0) for i in range(65))

    with pytest.raises(ValueError, match="at most 64 features"):
        Profile.of("input", 10, features, None, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"format_version": 1,\n  oops}', "no JSON at line 2 column 3"),
        (b"", "no JSON at line 1 column 1"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"[]", "must hold a JSON object"),
        (b'{"format_version": 1, "format_version": 1}', "'format_version' occurs twice"),
        (b'{"format_version": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "no JSON that can be read"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        loads(data)


def test_numbers_beyond_floats_are_refused() -> None:
    with pytest.raises(ManifestError, match=r"tolerance\.atol: must be a finite number"):
        loads(_changed(_set("tolerance.atol", 10**400)))
    with pytest.raises(ManifestError, match=r"tolerance\.atol: must be a finite number"):
        loads(dumps(_manifest()).replace(b'"atol":0.05', b'"atol":1e999'))


def test_a_huge_manifest_is_not_parsed() -> None:
    with pytest.raises(ManifestError, match=f"at most {MAX_MANIFEST_BYTES} are read"):
        loads(b" " * (MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_delete("architecture"), "architecture: weights need the architecture that they are for"),
        (_set("architecture", None), "architecture: weights need the architecture that they are for"),
        (_set("format_version", 1), "format_version: must be 2 for the kind safetensors"),
        (_set("architecture.name", "os.system()"), r"architecture\.name: .* is no name of an architecture"),
        (_set("architecture.config", []), r"architecture\.config: must be an object"),
        (_set("architecture.config.class-name", 1), r"architecture\.config: 'class-name' can't be an argument's name"),
        (
            _set("architecture.config.deep.none", 10**30),
            r"architecture\.config\.deep\.none: must be a number of 64 bits",
        ),
        (_set("architecture.code", "x"), r"architecture\.code: unknown field"),
        (_set("architecture.config.text", "x" * 70_000), r"architecture\.config: it has \d+ bytes; at most 65536"),
    ],
)
def test_a_fault_in_an_architecture_is_named_with_its_field(change: Change, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        loads(_changed(change, _weights()))


def test_programs_keep_the_format_that_older_releases_read() -> None:
    program, weights = (json.loads(dumps(one)) for one in (_manifest(), _weights()))

    assert (program["format_version"], weights["format_version"]) == (1, 2)
    assert not {"architecture", "by_name"} & program.keys()
    assert loads(dumps(_weights())) == _weights()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_manifest_error(data: bytes) -> None:
    with pytest.raises(ManifestError):
        loads(data)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, prefix: str = "") -> list[str]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [path for key, item in entries for path in _paths(item, f"{prefix}.{key}" if prefix else str(key))]
    return [prefix, *below] if prefix else below


@given(path=st.sampled_from(_paths(json.loads(dumps(_weights())))), value=_ANYTHING)
def test_any_value_anywhere_is_accepted_or_refused_with_a_manifest_error(path: str, value: object) -> None:
    original = json.loads(dumps(_weights()))
    changed = copy.deepcopy(original)
    _set(path, value)(changed)
    try:
        manifest = loads(json.dumps(changed).encode())
    except ManifestError as error:
        assert str(error).isprintable()
    else:
        assert loads(dumps(manifest)) == manifest


def test_reading_a_manifest_needs_neither_numpy_nor_torch() -> None:
    code = "import sys, crossfade.manifest; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


def test_the_precision_is_written_only_where_it_is_said() -> None:
    assert b"precision" not in dumps(_manifest())
    assert loads(dumps(_manifest())).precision is Precision.AUTO
    chosen = dataclasses.replace(_manifest(), precision=Precision.BF16)
    assert loads(dumps(chosen)) == chosen
    with pytest.raises(ManifestError, match=r'precision: "fp8" is not known here \(known: auto, fp32, bf16, fp16\)'):
        loads(_changed(lambda value: value.update(precision="fp8")))
