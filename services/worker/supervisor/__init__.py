"""Keeps what runs as it is wanted."""
