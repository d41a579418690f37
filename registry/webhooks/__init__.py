"""Telling others over HTTP what has happened."""
