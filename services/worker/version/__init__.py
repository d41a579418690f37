"""The processes of one version, from their start to their end."""
