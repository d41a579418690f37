"""What docs/deployment.md says about the database's users, and a Registry that runs as one of them."""

import re
from pathlib import Path
from typing import Final

from crossfade.registry.v1 import service_pb2
from registry.app import App
from registry.settings import RegistrySettings
from tests.integration.registry.harness import Registry

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs/deployment.md").read_text()
OWNER, RUNNER = "owner", "runner"
LIST: Final = service_pb2.ListModelsRequest()
FORBIDDEN: Final = (
    "DROP TABLE events",
    "ALTER TABLE models ADD COLUMN other TEXT",
    "CREATE TABLE other (id INTEGER)",
    "TRUNCATE events",
)
"""What the running Registry's user may not do."""
_NAME: Final = re.compile(r"(DATABASE (?:IF (?:NOT )?EXISTS )?|USE |\\connect )?\bcrossfade\b")


def block(after: str, language: str) -> str:
    """The code block of the page that follows these words."""
    _, found, rest = PAGE.partition(after)
    assert found, after
    return rest.partition(f"```{language}\n")[2].partition("```")[0]


def renamed(sql: str, database: str = "crossfade") -> str:
    """With the tests' names of users, and of the database; it keeps its own if none is given."""
    users = re.sub(r"\bcrossfade_migrate\b", OWNER, sql)
    return _NAME.sub(lambda name: f"{name[1]}{database}" if name[1] else RUNNER, users)


async def use(url: str) -> list[str]:
    """A Registry publishes a version; answers the models that it has."""
    app = App(RegistrySettings(listen="127.0.0.1:0", database=url, log_level="error", drain_seconds=0.5))
    await app.start()
    registry = Registry(app)
    try:
        models = (await registry.stub.ListModels(LIST)).models
        if not models:
            await registry.create()
            await registry.publish()
        return [model.name for model in (await registry.stub.ListModels(LIST)).models]
    finally:
        await registry.channel.close()
        await app.stop()
