"""Which release of Crossfade this is."""

from importlib import metadata


def release() -> str:
    """As its package says, `0.1.0`."""
    return metadata.version("crossfade-services")
