"""The Registry's use cases: each one a transaction."""
