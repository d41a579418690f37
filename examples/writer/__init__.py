"""A writer of English that answers in parts: a character a step."""
