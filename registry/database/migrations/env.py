"""Alembic's environment: migrates over the connection that `registry.database.schema` hands in."""

from alembic import context

from registry.database.tables import METADATA


def run() -> None:
    """Runs the migrations asked for."""
    connection = context.config.attributes["connection"]
    # DDL is not transactional in CockroachDB: each statement stands for itself and may be run again.
    context.configure(connection=connection, target_metadata=METADATA, transactional_ddl=False)
    context.run_migrations()


run()
