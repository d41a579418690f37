"""The Registry's serializable database: CockroachDB, or PostgreSQL where one node is enough."""
