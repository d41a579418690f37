"""Manifests: written and read back alike, in a form that a digest and older releases can rely on."""

import dataclasses
import json
import subprocess
import sys

import pytest

from crossfade.manifest import ManifestError, Precision, Task, digest, dumps, loads
from tests.unit.sdk.manifests import example, example_weights, written


def test_what_is_written_is_read_back_alike() -> None:
    manifest = example()

    assert loads(dumps(manifest)) == manifest


def test_a_manifest_without_classes_and_profile_is_read_back_alike() -> None:
    regression = dataclasses.replace(
        example(), task=Task.REGRESSION, classes=None, positive_class=None, scores=None, profile=None
    )

    assert loads(dumps(regression)) == regression


def test_bytes_are_canonical() -> None:
    data = dumps(example())

    assert data.endswith(b"}\n")
    assert data == json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_names_beyond_ascii_are_written_as_utf8() -> None:
    named = dataclasses.replace(example(), classes=("bleibt", "kündigt"), positive_class=None, profile=None)

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


def test_programs_keep_the_format_that_older_releases_read() -> None:
    program, weights = (json.loads(dumps(one)) for one in (example(), example_weights()))

    assert (program["format_version"], weights["format_version"]) == (1, 2)
    assert not {"architecture", "by_name"} & program.keys()
    assert loads(dumps(example_weights())) == example_weights()


def test_reading_a_manifest_needs_neither_numpy_nor_torch() -> None:
    code = "import sys, crossfade.manifest; print(sorted({'numpy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


def test_the_precision_is_written_only_where_it_is_said() -> None:
    assert b"precision" not in dumps(example())
    assert loads(dumps(example())).precision is Precision.AUTO
    chosen = dataclasses.replace(example(), precision=Precision.BF16)
    assert loads(dumps(chosen)) == chosen
    with pytest.raises(ManifestError, match=r'precision: "fp8" is not known here \(known: auto, fp32, bf16, fp16\)'):
        loads(written(lambda value: value.update(precision="fp8")))
