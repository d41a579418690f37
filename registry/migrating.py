"""Bringing the database of the settings to this release's schema, or only looking."""

from registry.app import open_database
from registry.database import schema
from registry.database.engine import DatabaseUrlError
from registry.settings import RegistrySettings


def require_database(settings: RegistrySettings) -> None:
    """Refuses settings that name no database.

    Raises:
        DatabaseUrlError: there is none.
    """
    if not settings.database:
        raise DatabaseUrlError("CROSSFADE_DATABASE is not set: write cockroachdb+psycopg://USER@HOST:26257/DATABASE")


def migrate_database(settings: RegistrySettings, *, check_only: bool) -> str:
    """Migrates, or with `check_only` refuses a schema that is not this release's; answers a sentence.

    Raises:
        DatabaseUrlError: the settings name no database of ours.
        SchemaError: the schema is another one and is not to be changed, it is newer, or the database does not answer.
    """
    require_database(settings)
    engine = open_database(settings)
    try:
        if check_only:
            schema.check(engine)
            return f"the database has schema {schema.REVISIONS[-1]}, which this release needs"
        return f"the database has schema {schema.migrate(engine)}"
    finally:
        engine.dispose()
