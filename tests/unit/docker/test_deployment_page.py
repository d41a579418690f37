"""docs/deployment.md lists every setting with its default and meaning, as the code has them."""

import inspect
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from evaluator.settings import EvaluatorSettings
from registry.settings import RegistrySettings
from router.settings import RouterSettings
from services.common.settings import ServiceSettings, TlsSettings
from services.local.setting_names import SETTINGS
from services.worker.artifacts.sources import PACKAGES, SCHEMES
from services.worker.settings import WorkerSettings

TABLES: dict[str, type[ServiceSettings]] = {
    "Every service": ServiceSettings,
    "Registry": RegistrySettings,
    "Router": RouterSettings,
    "Worker": WorkerSettings,
    "Evaluator": EvaluatorSettings,
}


def _meanings(settings: type[BaseSettings]) -> dict[str, str]:
    """What the docstrings of the class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(settings.__mro__):
        if not issubclass(base, TlsSettings):
            continue
        _, _, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            found[name] = " ".join(text.split())
    return found


def _default(value: Any) -> str:
    match value:
        case None | "":
            return "unset"
        case bool():
            return f"`{str(value).lower()}`"
        case StrEnum():
            return f"`{value.value}`"
        case float() if value.is_integer():
            return f"`{value:.0f}`"
        case _:
            return "required" if value is PydanticUndefined else f"`{value}`"


def _rows(settings: type[ServiceSettings]) -> list[str]:
    """The table's rows: a service's own settings, and those that it changes."""
    meanings = _meanings(settings)
    own = settings.model_fields
    if settings is not ServiceSettings:
        own = {name: own[name] for name in own if name in settings.__annotations__}
    return [
        f"| `CROSSFADE_{name.upper()}` | {_default(field.default)} | {meanings[name]} |" for name, field in own.items()
    ]


def _section(page: str, title: str) -> str:
    _, _, rest = page.partition(f"\n### {title}\n")
    return re.split(r"\n##", rest, maxsplit=1)[0]


@pytest.mark.parametrize("title", TABLES)
def test_the_table_is_that_of_the_code(title: str, root: Path) -> None:
    section = _section((root / "docs/deployment.md").read_text(), title)
    rows = [line for line in section.splitlines() if line.startswith("| `CROSSFADE_")]
    assert rows == _rows(TABLES[title]), "the table should be:\n" + "\n".join(_rows(TABLES[title]))


def test_every_setting_of_every_service_is_listed(root: Path) -> None:
    page = (root / "docs/deployment.md").read_text()
    names = {name for settings in TABLES.values() for name in settings.model_fields}
    assert len(names) > 30
    for name in names:
        assert f"| `CROSSFADE_{name.upper()}` |" in page


def test_every_scheme_of_an_address_is_listed_with_its_package(root: Path) -> None:
    page = (root / "docs/deployment.md").read_text()
    told: dict[str, str] = {}
    for addresses, package in re.findall(r"^   \| (`\w+://.*) \| (?:`(\w+)` )?\|$", page, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"(\w+)://", addresses), package)
    # A Worker comes with what HTTP needs.
    assert told == {**dict.fromkeys(SCHEMES, ""), **PACKAGES, "http": "", "https": ""}


def test_the_page_names_every_container(root: Path, containers: dict[str, dict[str, Any]]) -> None:
    page = (root / "docs/deployment.md").read_text()
    for name in containers:
        assert f"`{name}`" in page, name


def test_the_images_tags_are_on_the_page(root: Path, containers: dict[str, dict[str, Any]]) -> None:
    page = (root / "docs/deployment.md").read_text()
    for container in containers.values():
        if "build" not in container:
            assert f"`{container['image']}`" in page, container["image"]


def test_the_command_that_starts_them_knows_every_setting() -> None:
    assert {f"CROSSFADE_{name.upper()}" for settings in TABLES.values() for name in settings.model_fields} == SETTINGS
