"""Crossfade: new versions of machine-learning models, put into production safely."""
