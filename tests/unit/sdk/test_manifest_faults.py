"""What is no manifest is refused, and the fault is named with its field."""

import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.manifest import MAX_MANIFEST_BYTES, ManifestError, dumps, loads
from crossfade.reference_profile import Feature, FeatureKind, Profile
from tests.unit.sdk.manifests import Change, deleting, example, example_weights, setting, written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (deleting("task"), "task: missing"),
        (setting("colour", "red"), "colour: unknown field"),
        (setting("golden.colour", "red"), r"golden\.colour: unknown field"),
        (setting("max_batch", True), "max_batch: must be a whole number, not true"),
        (setting("max_batch", 1.0), "max_batch: must be a whole number, not 1.0"),
        (setting("max_batch", 0), "max_batch: must be positive"),
        (setting("kind", "onnx"), r"kind: \"onnx\" is not known here \(known: torch.export, safetensors\)"),
        (setting("format_version", 2), "format_version: must be 1 for the kind torch.export"),
        (
            setting("architecture", {"name": "mlp", "config": {}}),
            "architecture: must be null for the kind torch.export",
        ),
        (setting("by_name", True), "by_name: must be false for the kind torch.export"),
        (setting("by_name", 1), "by_name: must be true or false, not 1"),
        (setting("task", "clustering"), "task: .*known: classification, regression, other"),
        (setting("created_by", ""), "created_by: .* 1 to 128 printable characters"),
        (setting("classes", "keep"), r"classes: must be a list, not \"keep\""),
        (setting("classes", ["keep"]), "classes: at least two"),
        (setting("classes", ["keep", "keep"]), "classes: keep occurs more than once"),
        (setting("classes", ["keep", "churn", "other"]), r"scores: its shape must be \[-1, 3\]"),
        (setting("classes", None), "classes: a classification needs its class names"),
        (setting("positive_class", "cat"), "positive_class: is not one of the classes"),
        (setting("scores", "logits"), "scores: 'logits' is not one of the outputs"),
        (setting("task", "regression"), "classes: must be null for the task regression"),
        (setting("program", "other.pt2"), "program: 'other.pt2' is not among the files"),
        (setting("golden.file", "gone.npz"), r"golden\.file: 'gone.npz' is not among the files"),
        (setting("golden.rows", 0), r"golden\.rows: must be positive"),
        (setting("tolerance.rtol", -0.1), r"tolerance\.rtol: must not be negative"),
        (setting("tolerance.atol_of", {"nothing": 0.1}), r"tolerance\.atol_of\.nothing: is not one of the outputs"),
        (setting("tolerance.atol_of", {"scores": -0.1}), r"tolerance\.atol_of\.scores: must not be negative"),
        (setting("tolerance.atol", 1e999), "Infinity is no JSON number"),
        (setting("signature.inputs", []), r"signature\.inputs: must not be empty"),
        (setting("signature.inputs.0.dtype", "FLOAT"), r"signature\.inputs\[0\]\.dtype: .*known: BOOL, UINT8"),
        (setting("signature.inputs.0.shape", [8, 3]), r"signature\.inputs\[0\]\.shape: must begin with -1"),
        (setting("signature.inputs.0.shape", [-1, -1]), r"signature\.inputs\[0\]\.shape: sizes after the batch"),
        (setting("signature.inputs.0.shape", []), r"signature\.inputs\[0\]\.shape: must begin with -1"),
        (setting("signature.inputs.0.name", "a/b"), r"signature\.inputs\[0\]\.name: .* is no tensor name"),
        (setting("profile.input", "image"), r"profile\.id: does not belong to this content"),
        (setting("profile.rows", 999), r"profile\.id: does not belong to this content"),
        (setting("profile.features.0.edges", [50, 30]), r"profile\.features\[0\]\.edges: must rise strictly"),
        (setting("profile.features.0.edges", []), r"profile\.features\[0\]\.edges: must not be empty"),
        (setting("profile.features.0.edges", [30, "x"]), r"profile\.features\[0\]\.edges\[1\]: must be a number"),
        (setting("profile.features.0.edges", [30, False]), r"edges\[1\]: must be a number, not false"),
        (setting("profile.features.0.edges", [30, 40, 50]), r"profile\.features\[0\]\.proportions: must be one more"),
        (
            setting("profile.features.0.proportions", [0.2] * 5),
            r"profile\.features\[0\]\.proportions: .*with a missing bin",
        ),
        (setting("profile.features.0.proportions", [1, 1, 1]), r"proportions: must add up to 1, not 3"),
        (setting("profile.features.0.proportions", [-1, 1, 1]), r"proportions: must lie between 0 and 1"),
        (setting("profile.features.0.low", 31.0), r"features\[0\]\.low: must not lie above"),
        (setting("profile.features.0.low", None), r"features\[0\]\.low: low and high must be numbers"),
        (setting("profile.features.1.low", 1.0), r"features\[1\]\.low: low and high must be null"),
        (setting("profile.features.1.index", 0), r"profile\.features: index 0 occurs more than once"),
        (setting("profile.classes", {"keep": 0.5}), r"profile\.classes: must add up to 1"),
        (setting("files.0.size", -1), r"files\[0\]\.size: must not be negative"),
        (setting("files.0.sha256", "A" * 64), r"files\[0\]\.sha256: must be 64 lower-case"),
        (setting("files.1.path", "golden.npz"), "files: golden.npz occurs more than once"),
    ],
)
def test_a_fault_is_named_with_its_field(change: Change, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        loads(written(change))


@pytest.mark.parametrize("path", ["../program.pt2", "a/b", "a\\b", "/etc/passwd", "..", ".", "", ".hidden", "a\n", "é"])
def test_only_plain_file_names_are_accepted(path: str) -> None:
    with pytest.raises(ManifestError, match=r"files\[0\]\.path: .* is no plain file name"):
        loads(written(setting("files.0.path", path)))


def test_the_manifest_does_not_list_itself() -> None:
    with pytest.raises(ManifestError, match="can't list itself"):
        loads(written(setting("files.0.path", "model.json")))


def test_a_profile_must_fit_its_input() -> None:
    feature = Feature("far", 3, FeatureKind.NUMERIC, (0.5,), (0.5, 0.5), -1.0, 2.0)
    profile = Profile.of("input", 10, (feature,), None, None)

    with pytest.raises(ValueError, match="an index is beyond the 3 elements"):
        dataclasses.replace(example(), profile=profile)
    with pytest.raises(ValueError, match="'image' is not one of the inputs"):
        dataclasses.replace(example(), profile=Profile.of("image", 10, (), None, None))
    with pytest.raises(ValueError, match="a class that the model does not have"):
        dataclasses.replace(example(), profile=Profile.of("input", 10, (), {"cat": 1.0}, None))


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
        loads(written(setting("tolerance.atol", 10**400)))
    with pytest.raises(ManifestError, match=r"tolerance\.atol: must be a finite number"):
        loads(dumps(example()).replace(b'"atol":0.05', b'"atol":1e999'))


def test_a_huge_manifest_is_not_parsed() -> None:
    with pytest.raises(ManifestError, match=f"at most {MAX_MANIFEST_BYTES} are read"):
        loads(b" " * (MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (deleting("architecture"), "architecture: weights need the architecture that they are for"),
        (setting("architecture", None), "architecture: weights need the architecture that they are for"),
        (setting("format_version", 1), "format_version: must be 2 for the kind safetensors"),
        (setting("architecture.name", "os.system()"), r"architecture\.name: .* is no name of an architecture"),
        (setting("architecture.config", []), r"architecture\.config: must be an object"),
        (
            setting("architecture.config.class-name", 1),
            r"architecture\.config: 'class-name' can't be an argument's name",
        ),
        (
            setting("architecture.config.deep.none", 10**30),
            r"architecture\.config\.deep\.none: must be a number of 64 bits",
        ),
        (setting("architecture.code", "x"), r"architecture\.code: unknown field"),
        (setting("architecture.config.text", "x" * 70_000), r"architecture\.config: it has \d+ bytes; at most 65536"),
    ],
)
def test_a_fault_in_an_architecture_is_named_with_its_field(change: Change, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        loads(written(change, example_weights()))


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


@given(path=st.sampled_from(_paths(json.loads(dumps(example_weights())))), value=_ANYTHING)
def test_any_value_anywhere_is_accepted_or_refused_with_a_manifest_error(path: str, value: object) -> None:
    original = json.loads(dumps(example_weights()))
    changed = copy.deepcopy(original)
    setting(path, value)(changed)
    try:
        manifest = loads(json.dumps(changed).encode())
    except ManifestError as error:
        assert str(error).isprintable()
    else:
        assert loads(dumps(manifest)) == manifest
