"""Names and configs of architectures, and where they are found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.architecture import MAX_CONFIG_BYTES, Architecture, ArchitectureError, find, package_of
from tests.support.installing import install, install_examples


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_config_is_kept_as_json_has_it() -> None:
    given_config: dict[str, Any] = {"widths": (4, 8), "deep": {"rate": 0.5, "name": "ü", "on": True, "none": None}}
    architecture = Architecture("mlp", given_config)

    assert architecture.config == {"widths": [4, 8], "deep": {"rate": 0.5, "name": "ü", "on": True, "none": None}}
    given_config["deep"] = 1
    assert architecture.config["deep"] != 1
    assert Architecture("mlp").config == {}


@pytest.mark.parametrize("name", ["", "a b", "a,b", "../x", "-a", "ä", "a" * 129, "a\n"])
def test_names_that_a_setting_cannot_list(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of an architecture"):
        Architecture(name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([1], "config: must be a dict of arguments"),
        ({"hidden-size": 1}, "config: 'hidden-size' can't be an argument's name"),
        ({1: 1}, "config: 1 can't be an argument's name"),
        ({"a": object()}, r"config\.a: a object can't be written"),
        ({"a": [1, {2}]}, r"config\.a\[1\]: a set can't be written"),
        ({"a": {"b": {1: 2}}}, r"config\.a\.b: its names must be texts"),
        ({"a": float("nan")}, r"config\.a: must be a finite number"),
        ({"a": float("inf")}, r"config\.a: must be a finite number"),
        ({"a": 1 << 64}, r"config\.a: must be a number of 64 bits"),
        ({"a": "\ud800"}, r"config\.a: must be a text that UTF-8 holds"),
        ({"a": {"\n": 1}}, "config: its names must be printable"),
        ({"a": nested(16)}, "config: it is nested more than 16 deep"),
        ({"a": nested(5000)}, "config: it is nested more than 16 deep"),
        ({"a": "x" * MAX_CONFIG_BYTES}, f"config: it has {MAX_CONFIG_BYTES + 8} bytes; at most {MAX_CONFIG_BYTES}"),
    ],
)
def test_configs_that_cannot_be_written(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture("mlp", config)


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    )
)
def test_a_config_is_refused_or_survives_json(config: dict[str, Any]) -> None:
    try:
        architecture = Architecture("mlp", config)
    except ValueError as error:
        assert str(error).isprintable()
    else:
        assert json.loads(json.dumps(architecture.config)) == architecture.config == config


def test_an_installed_architecture_is_found_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = install(tmp_path, "found_nets", {"mlp-2": "found_nets:make"}, "raise RuntimeError", version="2.5")
    monkeypatch.syspath_prepend(str(site))

    entry = find("mlp-2")

    assert entry.value == "found_nets:make"
    assert package_of(entry) == "found_nets 2.5"
    assert "found_nets" not in sys.modules


def test_the_examples_are_architectures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install_examples(tmp_path)))

    assert {find(name).value for name in ("mlp", "experts")} == {
        "example_architectures:Perceptron",
        "example_architectures:Experts",
    }


def test_an_architecture_that_is_not_installed() -> None:
    with pytest.raises(ArchitectureError, match="'mlpp' is not installed here: install the package that declares it"):
        find("mlpp")


def test_an_architecture_of_two_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ours", "theirs"):
        monkeypatch.syspath_prepend(str(install(tmp_path / package, package, {"mlp": f"{package}:make"})))

    with pytest.raises(ArchitectureError, match=r"'mlp' is declared by several packages: ours 1\.0, theirs 1\.0"):
        find("mlp")
