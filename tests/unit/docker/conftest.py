"""What stands in docker/, read once."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic_settings import BaseSettings

from evaluator.settings import EvaluatorSettings
from registry.settings import RegistrySettings
from router.settings import RouterSettings
from services.worker.settings import WorkerSettings

ROOT: Final = Path(__file__).parents[3]
SETTINGS: Final[dict[str, type[BaseSettings]]] = {
    "registry": RegistrySettings,
    "migrate": RegistrySettings,
    "router": RouterSettings,
    "worker": WorkerSettings,
    "worker-gpu": WorkerSettings,
    "evaluator": EvaluatorSettings,
}
"""The settings that a container of compose.yaml reads."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def settings() -> dict[str, type[BaseSettings]]:
    """The settings class by container."""
    return SETTINGS


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    """compose.yaml, with anchors and merges resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="session")
def containers(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The containers of compose.yaml."""
    found: dict[str, dict[str, Any]] = compose["services"]
    return found
