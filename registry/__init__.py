"""The Registry: the only writer of truth."""
