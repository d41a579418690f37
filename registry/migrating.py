"""Bringing the database of the settings to this release's schema, or only looking."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Migrated:
    """The schema that a database has, and how people are told.

    Attributes:
        schema: its revision.
        changed: it had another one, so that the release before does not start on it any more.
        sentence: for people.
    """

    schema: str
    changed: bool
    sentence: str


def migrate_database(settings: RegistrySettings, *, check_only: bool) -> Migrated:
    """Migrates, or with `check_only` refuses a schema that is not this release's.

    Raises:
        DatabaseUrlError: the settings name no database of ours.
        SchemaError: the schema is another one and is not to be changed, it is newer or another application's, or the
            database does not answer.
    """
    require_database(settings)
    needed = schema.REVISIONS[-1]
    engine = open_database(settings)
    try:
        if check_only:
            schema.check(engine)
            return Migrated(needed, False, f"the database has schema {needed}, which this release needs")
        before = schema.migrate(engine)
        if before == needed:
            return Migrated(needed, False, f"the database has schema {needed}, as before")
        return Migrated(needed, True, f"the database has schema {needed}, and had {before or 'none'}")
    finally:
        engine.dispose()
