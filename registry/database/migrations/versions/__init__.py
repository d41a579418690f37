"""The migrations, in the order of their numbers.

Each statement is idempotent, DDL and DML never share a migration, and what is written here never changes: the schema
that a release has made is its own.
"""
