"""Alembic's environment; `registry.database.schema` runs it."""
