"""Lanes without a rollout are watched too: their stable version against its reference profile and its own past."""
