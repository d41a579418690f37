"""Counts, traces and logs."""
