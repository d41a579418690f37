"""Packaging one step of a model that answers in parts."""

from pathlib import Path
from typing import Any

import pytest

from crossfade.artifact import Loop, PackageError, Task, package, verify
from crossfade.publishing import signature_of
from tests.fakes.looping import LOOP, Walk, example


def test_the_manifest_holds_the_loop_and_the_registry_its_parts_and_state(tmp_path: Path) -> None:
    made = package(Walk(), example=example(), to=tmp_path / "walk", loop=LOOP, reference=example(50))
    manifest = verify(tmp_path / "walk").manifest
    assert manifest == made.manifest
    assert (manifest.loop, manifest.task) == (LOOP, Task.OTHER)
    # What callers give is profiled, and not state that begins as zeros.
    assert manifest.profile is not None
    assert manifest.profile.input == "start"
    signature = signature_of(manifest)
    assert (list(signature.parts), list(signature.state)) == (["seen", "count"], ["place"])


def test_a_profile_may_be_of_state_when_that_is_asked_for(tmp_path: Path) -> None:
    said: dict[str, Any] = {"loop": LOOP, "reference": example(50), "profile_input": "place"}
    manifest = package(Walk(), example=example(), to=tmp_path / "walk", **said).manifest
    assert manifest.profile is not None
    assert manifest.profile.input == "place"


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (
            Loop({"place": "seen"}, ("seen",), 5),
            r"loop\.feeds\.place: input 'place' is FP32 \[-1, 4\], and output 'seen'",
        ),
        (Loop({"steps": "count"}, ("seen",), 5), r"loop\.feeds\.steps: 'steps' is not one of the inputs start, length"),
        (Loop({"place": "place"}, ("saw",), 5), r"loop\.parts: 'saw' is not one of the outputs seen, place"),
        (Loop({"place": "place"}, ("seen",), 5, until="seen"), r"loop\.until: 'seen' is FP32 \[-1, 2\]"),
    ],
)
def test_a_loop_that_does_not_fit_is_refused_and_nothing_is_left(loop: Loop, message: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=message):
        package(Walk(), example=example(), to=tmp_path / "walk", loop=loop)
    assert list(tmp_path.iterdir()) == []
